"""Runs a tape on labels: one rule per operator, looked up in a table.

Knows tapes; what each operator does to labels is in `rules`, what comes of it in `channel_graph`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pruning_lab.common.modules import layer_name, naming
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.labels import FIXED, LabelSpace, NotFollowedError
from pruning_lab.graph.tracing.tape import SizeRead, Step, Tape, ancestors, leaves, replaced


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


class Suspect(NamedTuple):
    """An operator, or code that looks at a size, which may hold a number of channels.

    Attributes:
        place: what it is called in messages.
        module: path of the module whose forward it ran in.
        channels: int64 [any], labels of these channels, and in a reading the ids of their groups.
    """

    place: str
    module: str
    channels: Tensor


GIVES_OUTPUT = "feeds the model's output"

Rule = Callable[..., Any]

Links = dict[str, list[tuple[int, str, int]]]
"""Consumer -> [(input channel, layer, filter)]."""


class Interpreter:
    """Collects what a network's operators say of its channels, over one or several tapes."""

    def __init__(
        self,
        rules: dict[Any, Rule],
        meeting: Collection[Any],
        links: Links | None = None,
        choices: dict[Step, int] | None = None,
    ) -> None:
        """Start with nothing known.

        Args:
            meeting: operators whose rules ask for labels of parameters through `axis` and `meet` alone.
            links: what the user says of a consumer's channels, see `connected`.
            choices: of views that split channels, which of its dimensions keeps them; by default the last.
        """
        self.rules = rules
        self.meeting = meeting
        self.choices = choices or {}
        self.splits: dict[Step, tuple[int, ...]] = {}
        self.links: Links = links or {}
        self.space = LabelSpace()
        self.tensors: dict[str, Labelled] = {}
        self.layers: dict[str, Tensor] = {}
        self.reads: list[Read] = []
        self.costs: list[Cost] = []
        self.counted_groups: dict[str, Tensor] = {}
        self.counted_channels: dict[str, Tensor] = {}
        self.counted_norms: dict[str, Tensor] = {}
        self.contracted: list[Suspect] = []
        self.suspects: list[Suspect] = []
        self.sizes: list[tuple[str, tuple[Tensor | int, ...]]] = []
        self.asked: set[str] = set()
        self._untouched: set[int] = set()
        self.used: set[str] = set()
        self.count_costs = True
        self.place = self.module_path = ""

    def run(self, tape: Tape) -> dict[Step, Any]:
        """Interpret every step; labels of parameters are shared with the tapes that were run before.

        Returns:
            what each step gives out.
        """
        values: dict[Step, Any] = {}
        read = ancestors(tape.outputs)
        for step in tape.steps:
            self.place, self.module_path = step.described, step.module
            if step.target is not None:
                values[step] = self._call(step, values)
            elif step.name:
                if step in read:
                    self.used.add(step.name)
                values[step] = self.parameter(step.name, step.shapes)
            else:
                values[step] = Labelled(step.shapes)
        for step in tape.outputs:
            for value in leaves(values[step], Labelled):
                self.space.freeze(value.labels(), GIVES_OUTPUT)
        for seen in tape.size_reads:
            self._suspect_read(seen, values[seen.step])
        return values

    def _suspect_read(self, seen: SizeRead, value: Any) -> None:
        """What the model's code saw of a size it may compare, or calculate with."""
        rows = [value.axes[dim] for dim in seen.dims if dim in value.axes] if isinstance(value, Labelled) else []
        if rows:
            self.asked.add(seen.module)
        for row in {id(row): row for row in rows}.values():
            place = f"code of {seen.module}" if seen.module else "code of the model"
            self.suspects.append(Suspect(place, seen.module, row))

    def parameter(self, name: str, shape: tuple[int, ...]) -> Labelled:
        """A parameter or buffer, with labels along all its dimensions."""
        if name not in self.tensors:
            axes = {d: self.space.fresh(size) for d, size in enumerate(shape)}
            self.tensors[name] = Labelled(tuple(shape), axes, (name,))
            self._untouched.update(map(id, axes.values()))
        return self.tensors[name]

    def meet(self, row: Tensor, value: Labelled, dim: int) -> None:
        """Labels int64 [n] meet those of a tensor along a dimension; a parameter's that nothing has seen give way."""
        own = value.axes.get(dim)
        if id(own) in self._untouched and own is not None and own.numel() == row.numel():
            self._untouched.discard(id(own))
            value.axes[dim] = row
        else:
            self.tie(row, self.axis(value, dim))

    def _touch(self, step: Step, values: dict[Step, Any]) -> None:
        """What an operator reads is seen from now on, in whatever way its rule looks at it."""
        for source in step.sources:
            if source.name:
                self._untouched.difference_update(map(id, values[source].axes.values()))

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
                self.tie(row[channel].clone().view(1), label.view(1))
            row[channel] = label
        return row

    def _call(self, step: Step, values: dict[Step, Any]) -> Any:
        args = replaced(step.args, values.__getitem__)
        kwargs = {key: replaced(arg, values.__getitem__) for key, arg in step.kwargs.items()}
        rule = self.rules.get(step.target)
        if rule is None:
            pointwise = torch.Tag.pointwise in getattr(step.target, "tags", ())
            rule = self.rules["pointwise" if pointwise else "unknown"]
        if step.target not in self.meeting:
            self._touch(step, values)
        try:
            result = self._ruled(rule, step, args, kwargs)
        except NotFollowedError:  # less is pruned then, and nothing breaks; any other error is a fault of the lab
            result = self.rules["unknown"](self, step, *args, **kwargs)
        sources = [value for source in step.sources for value in leaves(values[source], Labelled)]
        if not sources:
            return result
        if all(value.parameters for value in sources):
            made_of = tuple(dict.fromkeys(name for value in sources for name in value.parameters))
            return _with_parameters(result, made_of)
        return _with_parameters(result, ())

    def _ruled(self, rule: Rule, step: Step, args: Any, kwargs: dict[str, Any]) -> Any:
        """What a rule makes of a step.

        Raises:
            NotFollowedError: the rule says so, or does not take these arguments.
        """
        try:
            return rule(self, step, *args, **kwargs)
        except TypeError as error:
            called = error.__traceback__
            if called is not None and called.tb_next is None:  # raised by the call, and not inside the rule
                raise NotFollowedError(str(error)) from error
            raise

    def axis(self, value: Labelled, dim: int) -> Tensor:
        """Labels along a dimension, int64 [shape[dim]]; FIXED where it has none."""
        dim %= value.ndim
        found = value.axes.get(dim)
        self._untouched.discard(id(found))
        return torch.full((value.shape[dim],), FIXED) if found is None else found

    def passed(self, value: Labelled) -> Labelled:
        """What an operator gives out whose elements each come of the one at the same place."""
        self._untouched.difference_update(map(id, value.axes.values()))
        return Labelled(value.shape, {d: row for d, row in value.axes.items() if d not in value.loose}, (), value.loose)

    def tie(self, one: Tensor, other: Tensor) -> None:
        self.space.tie(one, other, f"{self.place} joins it with values of a fixed size")

    def tie_rows(self, rows: Tensor) -> Tensor:
        return self.space.tie_rows(rows, f"{self.place} joins it with values of a fixed size")

    def freeze(self, labels: Tensor, why: str) -> None:
        self.space.freeze(labels, f"{self.place} {why}")

    def suspect(self, labels: Tensor, *sizes: tuple[Tensor | int, ...]) -> None:
        """Remember that the model's own code may hold the size of these channels, so a cut has to be proved.

        `sizes`: rows whose lengths an attribute of the module may hold, as one number, or as a list together with
        numbers that do not depend on channels.
        """
        if bool((labels != FIXED).any()):
            self.suspects.append(self._suspected(labels))
            self.note_sizes(labels, *sizes)

    def contract(self, labels: Tensor) -> None:
        """Remember channels over which two activations are multiplied and summed; a scale may hold their number."""
        self.contracted.append(self._suspected(labels))

    def _suspected(self, labels: Tensor) -> Suspect:
        return Suspect(self.place, self.module_path, labels)

    def note_sizes(self, labels: Tensor, *sizes: tuple[Tensor | int, ...]) -> None:
        """Remember what an attribute of the module may hold, without a suspicion; see `suspect`."""
        if bool((labels != FIXED).any()):
            self.sizes.extend((self.module_path, rows) for rows in sizes)

    def owns(self, weight: Labelled) -> bool:
        """Whether a parameter belongs to the very module that runs, whose sizes a cut keeps up with."""
        return any(name.rpartition(".")[0] == self.module_path for name in weight.parameters)

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


def _with_parameters(result: Any, made_of: tuple[str, ...]) -> Any:
    if isinstance(result, Labelled):
        return result if result.parameters == made_of else replace(result, parameters=made_of)
    if isinstance(result, list):
        return [_with_parameters(item, made_of) for item in result]
    return result
