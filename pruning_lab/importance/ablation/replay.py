"""Replays a recorded network operator by operator: the whole of it, or a part on top of values that are known.

Knows tapes and which operators read groups' channels; not which parts are worth running. One program serves one image
size: images are run one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.tracing.flow import Application, applications, parameters_in
from pruning_lab.graph.tracing.tape import Facts, Step, Tape, ancestors, replaced
from pruning_lab.importance.ablation.split_convolutions import Pieces, split_concatenations
from pruning_lab.importance.contract import readers

Values = dict[Step, Any]

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

    activation: Step
    dim: int
    ids: Tensor
    weight: Step
    weight_dim: int | None


class Program:
    """A recorded model, ready to be replayed, with its convolutions of concatenations split (`split_convolutions`).

    Args:
        model: whose parameters and buffers are used.
        answer: which of the tensors that the model returned holds the logits.

    Attributes:
        order: the operators on which the answer depends, in the order in which they run.
        answer: the step that gives out the logits; what the model returns besides is not computed.
        reads: the operators that read groups' channels.
        fixed: values that depend on no image.
        flops: operator -> FLOPs for one image; filled by the first whole run.

    Raises:
        UnsupportedError: the model takes several inputs, hands a value to Python, or an operator writes into its
            argument and has no twin that does not.
    """

    def __init__(self, recorded: Tape, model: nn.Module, graph: ChannelGraph, answer: int = 0) -> None:
        tape, pieces = split_concatenations(recorded)
        if len(tape.inputs) != 1:
            raise UnsupportedError(f"the model has {len(tape.inputs)} inputs")
        constant = parameters_in(tape)
        _raise_values_in_python(tape, set(constant))
        self.answer, self.image = tape.outputs[answer], tape.inputs[0]
        needed = ancestors([self.answer])
        operators = [step for step in tape.steps if step.target is not None and step in needed]
        for step in operators:
            _raise_writing(step)
        self.fixed = _given(tape, model)
        for step in operators:
            if step in constant:
                self.fixed[step] = self._call(step, self.fixed, None)
        self.order = [step for step in operators if step not in constant]
        self.reads = _reads(applications(tape, constant), graph, pieces, set(self.order))
        self.flops: dict[Step, int] = {}

    def run(self, image: Tensor, keep: Iterable[Step]) -> tuple[Tensor, Values]:
        """Run the whole network on one image [1, C, H, W].

        Returns:
            (logits [1, classes, ...], the values of `keep`).
        """
        kept = {*keep, self.answer}
        values: Values = {**self.fixed, self.image: image}
        dead_after = self.dead_after(self.order)
        for step in self.order:
            if step in self.flops:
                values[step] = self._call(step, values, None)
            else:
                with FlopCounterMode(display=False) as counter:
                    values[step] = self._call(step, values, None)
                self.flops[step] = counter.get_total_flops()
            for item in dead_after.get(step, ()):
                if item not in kept:
                    del values[item]
        return values[self.answer], {step: values[step] for step in kept}

    def rerun(self, steps: list[Step], values: Values, keep: Mapping[Step, Tensor]) -> Tensor:
        """Run some operators in order on top of known values. Returns the logits.

        Args:
            keep: operator that reads groups -> [channels], 1 for the channels that it still sees and 0 for the others.
        """
        known = dict(values)
        dead_after = self.dead_after(steps)
        for step in steps:
            known[step] = self._call(step, known, keep.get(step))
            for item in dead_after.get(step, ()):
                del known[item]
        return known[self.answer]

    def without(self, step: Step, group: int, values: Values) -> Tensor:
        """An operator's result less what a group's channels add to it.

        Args:
            values: of the operator and of what it reads, from a whole run.
        """
        read = self.reads[step]
        activation, weight = values[read.activation], values[read.weight]
        channels = (read.ids == group).nonzero().squeeze(1).to(activation.device)
        part = (activation.index_select(read.dim, channels), weight.index_select(read.weight_dim, channels), None)
        return values[step] - step.target(*part, *step.args[3:], **step.kwargs)

    def dead_after(self, steps: list[Step]) -> dict[Step, list[Step]]:
        """Operator -> values that nothing after it needs, if these operators run in order."""
        last = {source: step for step in steps for source in step.sources}
        dead: dict[Step, list[Step]] = {}
        for source, step in last.items():
            if source is not self.answer and source not in self.fixed:
                dead.setdefault(step, []).append(source)
        return dead

    def _call(self, step: Step, values: Values, keep: Tensor | None) -> Any:
        def value(source: Step) -> Any:
            if keep is None or source is not self.reads[step].activation:
                return values[source]
            shape = [1] * values[source].dim()
            shape[self.reads[step].dim] = -1
            return values[source] * keep.reshape(shape)

        kwargs = {key: replaced(arg, value) for key, arg in step.kwargs.items()}
        return step.target(*replaced(step.args, value), **kwargs)


def bytes_of(step: Step) -> int:
    """The size of a step's result, as it was recorded."""
    return sum(facts.nbytes for facts in step.facts())


def _raise_values_in_python(tape: Tape, constant: set[Step]) -> None:
    """What the model's own code did with a number can't be replayed: it may do something else on other images."""
    for step in tape.steps:
        results = step.result if isinstance(step.result, list) else [step.result]
        if step.target is not None and step not in constant and not all(isinstance(one, Facts) for one in results):
            raise UnsupportedError(f"{step.described} hands a value to Python")


def _raise_writing(step: Step) -> None:
    schema = getattr(step.target, "_schema", None)
    if schema is not None and schema.is_mutable:
        raise UnsupportedError(f"{step.target} writes into its argument")


def _given(tape: Tape, model: nn.Module) -> Values:
    """Parameters, buffers and constants."""
    tensors = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    values: Values = {step: tensors[step.name].detach() for step in tape.steps if step.name}
    values.update({step: step.constant for step in tape.steps if step.constant is not None and step not in tape.inputs})
    return values


def _reads(
    applied_at: Mapping[Step, Application], graph: ChannelGraph, pieces: Pieces, order: set[Step]
) -> dict[Step, Intake]:
    ids = readers(graph)
    found = {}
    for step, applied in applied_at.items():
        if step not in order or applied.layer not in ids:
            continue
        whole = ids[applied.layer]
        row, weight_dim = whole[slice(*pieces.get(step, (None,)))], None
        if step.target in _CHANNELS_OF:
            dim, place = _CHANNELS_OF[step.target]
            # With several groups of channels, one channel alone does not make a convolution of the same kind.
            if applied.weight.shapes[place] == len(row) and _convolution_groups(step) == 1:
                weight_dim = place
        else:
            dim = -1 if step.args[-2] is applied.activation else -2
        found[step] = Intake(applied.activation, dim, row, applied.weight, weight_dim)
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


def _convolution_groups(step: Step) -> Any:
    """1 for operators that have none."""
    names = [argument.name for argument in step.target._schema.arguments]
    if "groups" not in names:
        return 1
    place = names.index("groups")
    return step.args[place] if place < len(step.args) else step.kwargs.get("groups", 1)
