"""Holds a cut copy of a model, or of a section of one, against a masked one. Knows surgery, and no operator."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pruning_lab.common.copies import light_copy_of
from pruning_lab.common.modules import every_path, named_tensors, tensors_in
from pruning_lab.graph.build import Reading
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.cutting.mask import mask
from pruning_lab.graph.proof.masked_reference import run_without
from pruning_lab.graph.structure.channels import Channels
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.tape import Call, Step, leaves, replaced


class NotAloneError(Exception):
    """A section of a model does not run without the rest, or leaves more behind than what it returns."""


class Pass(Protocol):
    """What a model is given, and how its masked and its cut copy are run on it."""

    def masked(self, model: nn.Module, mixing: bool) -> list[Tensor]:
        """What a masked model gives, as a cut leaves it; `mixing`: normalizations see what is left alone."""

    def cut(self, model: nn.Module) -> list[Tensor]:
        """What a cut model gives."""

    def check(self, model: nn.Module) -> None:
        """Raises NotAloneError where the model as it is does not run."""


@dataclass(frozen=True)
class WholePass:
    """A model's forward pass.

    Attributes:
        reading: what is known of the model's recorded pass, for groups that a normalization mixes.
        absent: bool [n_groups], what is removed, in that reading's numbers.
    """

    inputs: tuple[Tensor, ...]
    reading: Reading | None = None
    absent: Tensor | None = None

    def masked(self, model: nn.Module, mixing: bool) -> list[Tensor]:
        reading = self.reading
        if not mixing or reading is None or reading.tape is None or self.absent is None:
            return self.cut(model)
        gone = Channels.taken(self.absent, reading.group_of_label)
        known = dict(zip(reading.tape.inputs, self.inputs, strict=True))
        return run_without(reading.tape.steps, known, reading.tape.outputs, reading.values, gone, model)

    def cut(self, model: nn.Module) -> list[Tensor]:
        return list(tensors_in(model(*self.inputs)))

    def check(self, model: nn.Module) -> None:
        """A model was recorded, and so it runs."""


@dataclass(frozen=True)
class SectionPass:
    """A run of a section of a model.

    Attributes:
        drawn: values for the tensors that it is given.
        absent: bool [n_groups], what is removed.
        alone: runs of which is known that they need no more than this.
    """

    call: Call
    reading: Reading
    drawn: dict[Step, Tensor]
    absent: Tensor
    alone: set[Call]

    def masked(self, model: nn.Module, mixing: bool) -> list[Tensor]:
        results = list(leaves(self.call.result, Step))
        try:
            given = self._results(model, mixing, results)
        except Exception as error:
            raise NotAloneError from error
        if len(given) != len(results) or not all(bool(torch.isfinite(one).all()) for one in given):
            raise NotAloneError
        return [self._left(one, step) for one, step in zip(given, results, strict=True)]

    def _results(self, model: nn.Module, mixing: bool, results: list[Step]) -> list[Tensor]:
        if not mixing:
            return self._run(model, self._whole)
        assert self.reading.tape is not None
        gone = Channels.taken(self.absent, self.reading.group_of_label)
        steps = self.reading.tape.steps[self.call.first : self.call.behind]
        return run_without(steps, dict(self.drawn), results, self.reading.values, gone, model)

    def cut(self, model: nn.Module) -> list[Tensor]:
        before = _account(model)
        found = self._run(model, lambda step: self._left(self.drawn[step], step))
        if _account(model) != before:
            raise NotAloneError
        return found

    def check(self, model: nn.Module) -> None:
        if self.call not in self.alone:
            try:
                self._run(model, self._whole)
            except Exception as error:
                raise NotAloneError from error
            self.alone.add(self.call)

    def _run(self, model: nn.Module, given: Callable[[Step], Tensor]) -> list[Tensor]:
        """What a model gives when it is given that in place of its arguments' steps."""
        made = {step: given(step) for step in self.call.given}  # a tensor that is given twice is one
        args, kwargs = replaced((self.call.args, self.call.kwargs), made.__getitem__)
        return list(tensors_in(model(*args, **kwargs)))

    def _whole(self, step: Step) -> Tensor:
        return self.drawn[step].clone()

    def _left(self, tensor: Tensor, step: Step) -> Tensor:
        """What a cut leaves of a tensor, in memory of its own."""
        value = self.reading.values[step]
        assert isinstance(value, Labelled)
        left = tensor
        for dim, row in value.axes.items():
            gone = Channels.taken(self.absent, self.reading.group_of_label[row])
            if bool(gone.any()):
                left = left.index_select(dim, (~gone).nonzero().squeeze(1).to(tensor.device))
        return tensor.clone() if left is tensor else left


def _account(model: nn.Module) -> dict[tuple[int, str], Any]:
    """What modules keep beside tensors: an attribute that a run sets may be what another module goes by."""
    return {
        (number, key): len(value) if isinstance(value, (dict, list, set)) else id(value)
        for number, (_, module) in enumerate(every_path(model))
        for key, value in vars(module).items()
        if not isinstance(value, Tensor)
    }


@torch.no_grad()
def compare(
    model: nn.Module,
    graph: Channels,
    removed: Tensor,
    runs: Sequence[Pass],
    copied: Callable[[nn.Module], nn.Module] = light_copy_of,
) -> float:
    """The largest relative difference between what a cut and a masked copy give in any of the runs.

    Args:
        model: a copy in evaluation mode, which is masked in place for a while.
        removed: bool [n_groups].
        copied: makes the copy that is cut.

    Raises:
        NotAloneError: the model is a section of one, and can't be run by itself.
        Exception: whatever the cut model's own code raises.
    """
    small = copied(model)
    try:
        cut(small, copy.copy(graph), removed)
        found = [one for run in runs for one in run.cut(small)]
    except NotAloneError:
        raise
    except Exception:
        for run in runs:
            run.check(model)
        raise
    mixing = bool((removed & graph.mixing).any())
    with _masked(model, graph, removed):
        expected = [one for run in runs for one in run.masked(model, mixing)]
    if [item.shape for item in found] != [item.shape for item in expected]:
        return math.inf
    return max((_relative(one, other) for one, other in zip(found, expected, strict=True)), default=0.0)


@contextmanager
def _masked(model: nn.Module, graph: Channels, removed: Tensor) -> Iterator[None]:
    """A copy of a model, masked inside. What a mask writes into takes memory of its own and is put back at the end."""
    names = {
        name
        for consumer in graph.consumers
        for name in consumer.tensors
        if consumer.dim in graph.tensors[name].axes
        and bool(graph.taken(removed, graph.tensors[name].axes[consumer.dim]).any())
    }
    if bool((removed & graph.contracted).any()):
        names.update(graph.tensors)
    parameters, buffers = named_tensors(model)
    tensors = parameters | buffers
    before = {name: tensors[name].data for name in names & set(tensors)}
    try:
        for name, values in before.items():
            tensors[name].data = values.clone()
        mask(model, graph, removed)
        yield
    finally:
        for name, values in before.items():
            tensors[name].data = values


def _relative(one: Tensor, other: Tensor) -> float:
    if not other.numel():
        return 0.0
    if not other.is_floating_point():
        return float((one != other).any())
    largest = float(other.abs().max())
    apart = float((one - other).abs().max())
    return apart / largest if largest > 0 else apart
