"""Replays an exported network operator by operator: the whole of it, or a part on top of values that are known.

Knows exported graphs and which operators read groups' channels; not which parts are worth running. One program serves
one image size: images are run one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.tracing.flow import Application, Canonical, applications, parameters_in
from pruning_lab.importance.ablation.split_convolutions import Pieces, split_concatenations
from pruning_lab.importance.contract import readers

Values = dict[fx.Node, Any]

aten = torch.ops.aten


class UnsupportedError(Exception):
    """The program has something that can't be replayed operator by operator."""


@dataclass(frozen=True)
class Intake:
    """How an operator reads channels.

    Attributes:
        activation: what it reads.
        dim: where the channels are in it.
        ids: int64 [channels], their groups.
        weight: what it applies.
        weight_dim: the same channels' dimension in the weight, if one of them can be applied alone.
    """

    activation: fx.Node
    dim: int
    ids: Tensor
    weight: fx.Node
    weight_dim: int | None


class Program:
    """An exported model, ready to be replayed. The exported graph is rewritten (see `splitting`).

    Args:
        names: the names by which the channel graph knows parameters that have several.

    Attributes:
        order: the operators on which the answer depends, in the order in which they run.
        answer: the node that holds the logits; what the model returns besides is not computed.
        reads: the operators that read groups' channels.
        fixed: values that depend on no image.
        flops: operator -> FLOPs for one image; filled by the first whole run.

    Raises:
        UnsupportedError: the model takes several inputs, or an operator writes into its argument and has no twin that
            does not.
    """

    def __init__(
        self, exported: ExportedProgram, graph: ChannelGraph, names: Canonical | None = None, answer: int = 0
    ) -> None:
        pieces = split_concatenations(exported)
        self.answer = _logits_node(exported, answer)
        self.image = _only_input(exported)
        needed = _ancestors(self.answer)
        operators = [node for node in exported.graph.nodes if node.op == "call_function" and node in needed]
        self.calls = {node: _without_side_effect(node) for node in operators}
        constant = parameters_in(exported)
        self.fixed = _placeholders(exported)
        for node in operators:
            if node in constant:
                self.fixed[node] = self._call(node, self.fixed, None)
        self.order = [node for node in operators if node not in constant]
        self.reads = _reads(applications(exported, names), graph, pieces, set(self.order))
        self.flops: dict[fx.Node, int] = {}

    def run(self, image: Tensor, keep: Iterable[fx.Node]) -> tuple[Tensor, Values]:
        """Run the whole network on one image [1, C, H, W].

        Returns:
            (logits [1, classes, ...], the values of `keep`).
        """
        kept = {*keep, self.answer}
        values: Values = {**self.fixed, self.image: image}
        dead_after = self.dead_after(self.order)
        for node in self.order:
            if node in self.flops:
                values[node] = self._call(node, values, None)
            else:
                with FlopCounterMode(display=False) as counter:
                    values[node] = self._call(node, values, None)
                self.flops[node] = counter.get_total_flops()
            for item in dead_after.get(node, ()):
                if item not in kept:
                    del values[item]
        return values[self.answer], {node: values[node] for node in kept}

    def rerun(self, nodes: list[fx.Node], values: Values, keep: Mapping[fx.Node, Tensor]) -> Tensor:
        """Run some operators in order on top of known values. Returns the logits.

        Args:
            keep: operator that reads groups -> [channels], 1 for the channels that it still sees and 0 for the others.
        """
        known = dict(values)
        dead_after = self.dead_after(nodes)
        for node in nodes:
            known[node] = self._call(node, known, keep.get(node))
            for item in dead_after.get(node, ()):
                del known[item]
        return known[self.answer]

    def without(self, node: fx.Node, group: int, values: Values) -> Tensor:
        """An operator's result less what a group's channels add to it.

        Args:
            values: of the operator and of what it reads, from a whole run.
        """
        read = self.reads[node]
        activation, weight = values[read.activation], values[read.weight]
        channels = (read.ids == group).nonzero().squeeze(1).to(activation.device)
        part = (activation.index_select(read.dim, channels), weight.index_select(read.weight_dim, channels), None)
        return values[node] - self.calls[node](*part, *node.args[3:], **node.kwargs)

    def dead_after(self, nodes: list[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
        """Operator -> values that nothing after it needs, if these operators run in order."""
        last = {item: node for node in nodes for item in node.all_input_nodes}
        dead: dict[fx.Node, list[fx.Node]] = {}
        for item, node in last.items():
            if item is not self.answer and item not in self.fixed:
                dead.setdefault(node, []).append(item)
        return dead

    def _call(self, node: fx.Node, values: Values, keep: Tensor | None) -> Any:
        def value(item: fx.Node) -> Any:
            if keep is None or item is not self.reads[node].activation:
                return values[item]
            shape = [1] * values[item].dim()
            shape[self.reads[node].dim] = -1
            return values[item] * keep.reshape(shape)

        args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), value)
        return self.calls[node](*args, **kwargs)


def bytes_of(node: fx.Node) -> int:
    """The size of a node's result, from its shape at export."""
    return sum(item.nbytes for item in pytree.tree_leaves(node.meta.get("val")) if isinstance(item, Tensor))


def _only_input(exported: ExportedProgram) -> fx.Node:
    names = exported.graph_signature.user_inputs
    found = [node for node in exported.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(found) != 1:
        raise UnsupportedError(f"the model has {len(found)} inputs")
    return found[0]


def _logits_node(exported: ExportedProgram, place: int) -> fx.Node:
    returned: Any = exported.graph.output_node().args[0]
    found = returned[place]
    if not isinstance(found, fx.Node):
        raise UnsupportedError("the model returns no tensor where logits are looked for")
    return found


def _placeholders(exported: ExportedProgram) -> Values:
    """Parameters, buffers and constants."""
    values: Values = {}
    specs = {spec.arg.name: spec for spec in exported.graph_signature.input_specs}
    for node in exported.graph.nodes:
        if node.op == "placeholder" and specs[node.name].kind != InputKind.USER_INPUT:
            target = str(specs[node.name].target)
            state = exported.state_dict
            values[node] = state[target].detach() if target in state else exported.constants.get(target)
    return values


def _ancestors(output: fx.Node) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = [output]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(node.all_input_nodes)
    return found


def _without_side_effect(node: fx.Node) -> Callable[..., Any]:
    """The operator itself, or for one that writes into its argument, its twin that returns the result instead.

    An exported graph goes on with what such an operator returns, so nothing else has to change.
    """
    target: Any = node.target
    if isinstance(target, torch._ops.HigherOrderOperator):
        raise UnsupportedError(f"{target} hides a part of the model")
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:
        return target
    namespace, name = target._schema.name.split("::")
    twin = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    if not name.endswith("_") or not hasattr(twin, target._overloadname):
        raise UnsupportedError(f"{target} writes into its argument")
    return getattr(twin, target._overloadname)


def _reads(
    applied_at: Mapping[fx.Node, Application], graph: ChannelGraph, pieces: Pieces, order: set[fx.Node]
) -> dict[fx.Node, Intake]:
    ids = readers(graph)
    found = {}
    for node, applied in applied_at.items():
        if node not in order or applied.layer not in ids:
            continue
        whole = ids[applied.layer]
        row, weight_dim = whole[slice(*pieces.get(node, (None,)))], None
        if node.target in _CHANNELS_OF:
            dim, place = _CHANNELS_OF[node.target]
            # With several groups of channels, one channel alone does not make a convolution of the same kind.
            if applied.weight.meta["val"].shape[place] == len(row) and _convolution_groups(node) == 1:
                weight_dim = place
        else:
            dim = -1 if node.args[-2] is applied.activation else -2
        found[node] = Intake(applied.activation, dim, row, applied.weight, weight_dim)
    return found


_CHANNELS_OF: dict[Any, tuple[int, int]] = {
    aten.conv1d.default: (1, 1),
    aten.conv2d.default: (1, 1),
    aten.conv3d.default: (1, 1),
    aten.conv1d.padding: (1, 1),
    aten.conv2d.padding: (1, 1),
    aten.conv3d.padding: (1, 1),
    aten.conv_transpose1d.default: (1, 0),
    aten.conv_transpose2d.input: (1, 0),
    aten.conv_transpose3d.input: (1, 0),
    aten.linear.default: (-1, 1),
}
"""Operator -> the channels' dimension in the activation, and in the weight."""


def _convolution_groups(node: fx.Node) -> Any:
    """1 for operators that have none."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    if "groups" not in names:
        return 1
    place = names.index("groups")
    return node.args[place] if place < len(node.args) else node.kwargs.get("groups", 1)
