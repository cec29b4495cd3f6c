"""Runs an exported graph on labels: one rule per operator, looked up in a table.

Knows torch.export's graphs; what each operator does to labels is in `rules`, what comes of it in `channel_graph`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from pruning_lab.common.modules import layer_name, naming
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.labels import FIXED, LabelSpace


@dataclass(frozen=True)
class Read:
    """A layer reads channels: `channels` int64 [in_channels] are the labels of its input, in the layer's own order.

    `parameters` are sliced along `dim` when they leave. A read without parameters is a product of two activations.
    """

    layer: str
    parameters: tuple[str, ...]
    dim: int
    channels: Tensor


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates of one operator: `coefficient` x the number of labels left in each of `factors`."""

    layer: str
    coefficient: int
    factors: tuple[Tensor, ...]


Rule = Callable[..., Any]

Links = dict[str, list[tuple[int, str, int]]]
"""Consumer -> [(input channel, layer, filter)]."""


class Interpreter:
    """Collects what a network's operators say of its channels, over one or several exported graphs."""

    def __init__(self, rules: dict[Any, Rule], canonical: dict[str, str], links: Links | None = None) -> None:
        """Start with nothing known.

        Args:
            canonical: every name of a parameter or buffer -> the one under which it is known here.
            links: what the user says of a consumer's channels, see `connected`.
        """
        self.rules, self.canonical = rules, canonical
        self.links: Links = links or {}
        self.space = LabelSpace()
        self.tensors: dict[str, Labelled] = {}
        self.layers: dict[str, Tensor] = {}
        self.reads: list[Read] = []
        self.costs: list[Cost] = []
        self.counted_groups: dict[str, Tensor] = {}
        self.counted_channels: dict[str, Tensor] = {}
        self.contracted: list[tuple[str, Tensor]] = []
        self.suspects: list[tuple[str, Tensor]] = []
        self.sizes: list[tuple[str, tuple[Tensor | int, ...]]] = []
        self.used: set[str] = set()
        self.count_costs = True
        self.node_name = self.module_path = ""

    def run(self, program: ExportedProgram) -> dict[fx.Node, Any]:
        """Interpret every node; labels of parameters are shared with the programs that were run before.

        Returns:
            what each node gives out.
        """
        values: dict[fx.Node, Any] = {}
        names = self._parameter_names(program)
        outputs = _outputs(program)
        read = _ancestors(outputs)
        for node in program.graph.nodes:
            if node.op == "placeholder":
                self.node_name = describe(node)
                values[node] = self._placeholder(node, names, node in read)
        self._run_nodes(program.graph_module, values)
        for node in outputs:
            for value in labelled_in(values[node]):
                self.space.freeze(value.labels(), "feeds the model's output")
        return values

    def run_inside(self, module: fx.GraphModule, operands: tuple[Any, ...]) -> list[Any]:
        """Interpret a graph within the graph, as `with torch.no_grad():` in a forward makes one."""
        holders = [node for node in module.graph.nodes if node.op == "placeholder"]
        values = dict(zip(holders, operands, strict=True))
        self._run_nodes(module, values)
        results = next(node for node in reversed(module.graph.nodes) if node.op == "output").args[0]
        return [values[result] for result in results]

    def _run_nodes(self, module: fx.GraphModule, values: dict[fx.Node, Any]) -> None:
        for node in module.graph.nodes:
            self.node_name, self.module_path = describe(node), module_path(node)
            if node.op == "get_attr":
                values[node] = getattr(module, str(node.target))
            elif node.op == "call_function":
                values[node] = self._call(node, values)

    def _parameter_names(self, program: ExportedProgram) -> dict[str, str]:
        signature = program.graph_signature
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        return {place: self.canonical[name] for place, name in names.items()}

    def _placeholder(self, node: fx.Node, names: dict[str, str], is_read: bool) -> Any:
        tensor = node.meta.get("val")
        if not isinstance(tensor, Tensor):
            return tensor
        name = names.get(node.name)
        if name is None:
            return Labelled(tuple(tensor.shape))
        if is_read:
            self.used.add(name)
        if not node.users:
            return None
        return self.parameter(name, tensor)

    def parameter(self, name: str, tensor: Tensor) -> Labelled:
        """A parameter or buffer, with labels along all its dimensions."""
        if name not in self.tensors:
            axes = {d: self.space.fresh(size) for d, size in enumerate(tensor.shape)}
            self.tensors[name] = Labelled(tuple(tensor.shape), axes, (name,))
        return self.tensors[name]

    def connected(self, consumer: str, row: Tensor) -> Tensor:
        """What a layer reads: as found, or as the links say instead."""
        if not self.links:
            return row
        row = row.clone()
        for layer in {layer for told in self.links.values() for _, layer, _ in told} & set(self.layers):
            row[torch.isin(row, self.layers[layer])] = FIXED
        for channel, layer, index in self.links.get(consumer, ()):
            label = self.layers[layer][index]
            if int(row[channel]) != FIXED:
                self.tie(row[channel].view(1), label.view(1))
            row[channel] = label
        return row

    def _call(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), values.__getitem__)
        rule = self.rules.get(node.target)
        if rule is None:
            pointwise = torch.Tag.pointwise in getattr(node.target, "tags", ())
            rule = self.rules["pointwise" if pointwise else "unknown"]
        try:
            result = rule(self, node, *args, **kwargs)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError):
            # An operator may be called in ways that nobody foresaw. Less is pruned then, and nothing breaks.
            result = self.rules["unknown"](self, node, *args, **kwargs)
        sources = [value for source in node.all_input_nodes for value in labelled_in(values[source])]
        if sources and all(value.parameters for value in sources):
            made_of = tuple(dict.fromkeys(name for value in sources for name in value.parameters))
            return _with_parameters(result, made_of)
        return _with_parameters(result, ()) if sources else result

    def axis(self, value: Labelled, dim: int) -> Tensor:
        """Labels along a dimension, int64 [shape[dim]]; FIXED where it has none."""
        dim %= value.ndim
        found = value.axes.get(dim)
        return torch.full((value.shape[dim],), FIXED) if found is None else found

    def tie(self, one: Tensor, other: Tensor) -> None:
        self.space.tie(one, other, f"{self.node_name} joins it with values of a fixed size")

    def tie_rows(self, rows: Tensor) -> Tensor:
        return self.space.tie_rows(rows, f"{self.node_name} joins it with values of a fixed size")

    def freeze(self, labels: Tensor, why: str) -> None:
        self.space.freeze(labels, f"{self.node_name} {why}")

    def suspect(self, labels: Tensor, *sizes: tuple[Tensor | int, ...]) -> None:
        """Remember that the model's own code may hold the size of these channels, so a cut has to be proved.

        `sizes`: rows whose lengths an attribute of the module may hold, as one number, or as a list together with
        numbers that do not depend on channels.
        """
        if bool((labels != FIXED).any()):
            self.suspects.append((self.node_name, labels))
            self.sizes.extend((self.module_path, rows) for rows in sizes)

    def layer(self, weight: Labelled, filters: Tensor) -> str:
        """Register the filters of a layer under its module path; a layer that runs twice is registered once.

        Returns:
            the layer's name; empty if the weight is computed from activations.
        """
        if not weight.parameters:
            return ""
        alike = [name for name in weight.parameters if self.tensors[name].shape == weight.shape]
        name = layer_name(naming(alike) if alike else sorted(weight.parameters, key=self._size)[-1])
        self.layers.setdefault(name, filters)
        return name

    def _size(self, name: str) -> int:
        return math.prod(self.tensors[name].shape)

    def read(self, layer: str, weight: Labelled, dim: int, channels: Tensor) -> None:
        """A layer reads `channels` through dimension `dim` of its weight."""
        size = weight.shape[dim]
        sliced = [
            name
            for name in weight.parameters
            if len(shape := self.tensors[name].shape) == weight.ndim and shape[dim] == size
        ]
        self.reads.append(Read(layer, tuple(sliced), dim, channels))

    def cost(self, layer: str, coefficient: int, *factors: Tensor) -> None:
        if self.count_costs:
            self.costs.append(Cost(layer, coefficient, factors))


def labelled_in(tree: Any) -> Iterator[Labelled]:
    """All Values in nested arguments or results."""
    for leaf in pytree.tree_leaves(tree, is_leaf=lambda item: isinstance(item, Labelled)):
        if isinstance(leaf, Labelled):
            yield leaf


def result_shapes(node: fx.Node) -> Any:
    """The sizes of a node's result: a tuple of ints, or a list of them where it returns several tensors."""
    val = node.meta["val"]
    return tuple(val.shape) if isinstance(val, Tensor) else [tuple(item.shape) for item in val]


def describe(node: fx.Node) -> str:
    """`add in layer1.0` for an operator, by the module whose forward called it."""
    target = str(getattr(node.target, "_opname", node.target))
    path = module_path(node)
    return f"{target} in {path}" if path else target


def module_path(node: fx.Node) -> str:
    """The path of the module whose forward called an operator; empty for the model itself."""
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]) if stack else ""


def _with_parameters(result: Any, made_of: tuple[str, ...]) -> Any:
    if isinstance(result, Labelled):
        return result if result.parameters == made_of else replace(result, parameters=made_of)
    if isinstance(result, list):
        return [_with_parameters(item, made_of) for item in result]
    return result


def _outputs(program: ExportedProgram) -> list[fx.Node]:
    names = set(program.graph_signature.user_outputs)
    output = next(node for node in reversed(program.graph.nodes) if node.op == "output")
    return [node for node in output.all_input_nodes if node.name in names]


def _ancestors(nodes: list[fx.Node]) -> set[fx.Node]:
    """All nodes on which these depend, themselves included; an operator in place is read through its result."""
    seen, waiting = set(nodes), list(nodes)
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return seen
