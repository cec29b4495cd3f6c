"""A model's answers with each group masked, image by image, as cheaply as the model allows. Knows no effect.

Where the model can be replayed, parts are run from values kept of one whole run; where it can't, a masked copy is run.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pruning_lab.common.modules import tensors_in
from pruning_lab.graph import ChannelGraph, TraceError
from pruning_lab.graph.cutting.mask import mask
from pruning_lab.graph.proof.precision import in_double
from pruning_lab.graph.tracing.recording import record
from pruning_lab.importance.ablation.parts import Part, parts_of
from pruning_lab.importance.ablation.replay import Program, UnsupportedError, Values, bytes_of
from pruning_lab.importance.objective import main_output

Answers = Iterator[tuple[Tensor, Tensor]]
"""(groups int64 [k], logits [k, 1, classes, ...] with each of them masked)."""

_SIDE_BY_SIDE = 2**24
"""Bytes of results that groups running side by side on a CPU have at most: with more, it waits for memory."""


@dataclass
class Work:
    """What was run, and what brute force would have run.

    Attributes:
        evaluations: pairs of image and group.
        whole_runs: how often the whole network ran.
        flops: what it cost, runs of the whole network included.
        brute_force_flops: what it would have cost if the whole network had run for every evaluation.
        brute_force: why the whole network was run for every group; None where parts were run.
    """

    evaluations: int = 0
    whole_runs: int = 0
    flops: int = 0
    brute_force_flops: int = 0
    brute_force: str | None = None

    @property
    def saving(self) -> float:
        """How many times cheaper than brute force, in FLOPs; 1 where the whole network was run for every group."""
        return self.brute_force_flops / self.flops if self.flops and self.brute_force is None else 1.0


@dataclass(frozen=True)
class _Plan:
    """A program for one image size and its parts, the values that all parts together need, and its FLOPs."""

    program: Program
    parts: list[Part]
    boundary_bytes: int
    flops: int


class MaskedRuns:
    """Runs a model that is in evaluation mode, with groups masked and without gradients. The model is not changed.

    Args:
        memory: bound in bytes on the values kept of a whole run, and on what runs side by side.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, memory: float) -> None:
        self.model = model
        self.graph = graph
        self.memory = memory
        self.work = Work()
        self._plans: dict[torch.Size, _Plan | None] = {}
        self._copy: nn.Module | None = None

    def __call__(self, image: Tensor, groups: Tensor) -> tuple[Tensor, Answers]:
        """The whole network's logits [1, classes, ...] for an image [1, C, H, W], and its answers without each group.

        Groups that nothing reads are left out: masking them changes nothing.
        """
        if image.shape not in self._plans:
            self._plans[image.shape] = self._plan(image)
        plan = self._plans[image.shape]
        self.work.evaluations += len(groups)
        if plan is None:
            return self._whole(self.model, image), self._by_copy(image, groups)
        self.work.brute_force_flops += len(groups) * plan.flops
        whole, values = self._run(plan, image, plan.parts if self._fits(plan) else [])
        return whole, self._answers(plan, image, values, groups)

    def _answers(self, plan: _Plan, image: Tensor, values: Values, groups: Tensor) -> Answers:
        # Where activations are multiplied with each other, masking is done at the source and not at a reader.
        at_source = self.graph.contracted[groups]
        yield from self._by_parts(plan, image, values, groups[~at_source])
        self.work.flops += int(at_source.sum()) * plan.flops
        yield from self._by_copy(image, groups[at_source])

    def _by_parts(self, plan: _Plan, image: Tensor, values: Values, groups: Tensor) -> Answers:
        most = _SIDE_BY_SIDE if image.device.type == "cpu" else math.inf
        for part in plan.parts:
            mine = part.groups[torch.isin(part.groups, groups)]
            if not len(mine):
                continue
            kept = values if self._fits(plan) else self._run(plan, image, [part])[1]
            free = self.memory - (plan.boundary_bytes if self._fits(plan) else part.boundary_bytes())
            at_once = max(1, int(min(free, most) // max(1, part.bytes_per_group())))
            self.work.flops += part.flops(mine)
            for chunk in mine.split(at_once):
                yield chunk, part.logits(chunk, kept)

    def _fits(self, plan: _Plan) -> bool:
        """Whether all parts' values can be kept at once; else each part gets its own from a whole run of its own."""
        return plan.boundary_bytes <= self.memory / 2

    def _run(self, plan: _Plan, image: Tensor, parts: list[Part]) -> tuple[Tensor, Values]:
        self.work.whole_runs += 1
        self.work.flops += plan.flops
        return plan.program.run(image, set().union(*(part.boundary for part in parts)))

    def _by_copy(self, image: Tensor, groups: Tensor) -> Answers:
        if self._copy is None:
            self._copy = copy.deepcopy(self.model)
        for group in groups:
            mask(self._copy, self.graph, [int(group)])
            logits = self._whole(self._copy, image)
            self._copy.load_state_dict(self.model.state_dict())
            yield group.reshape(1), logits.unsqueeze(0)

    def _whole(self, model: nn.Module, image: Tensor) -> Tensor:
        return main_output(model(image))

    def _plan(self, image: Tensor) -> _Plan | None:
        """How to run parts for images of this size; None where only the whole network can be run.

        What is recorded is a pass on another image: a value that the model's own code holds of it then shows.
        """
        with FlopCounterMode(display=False) as counter:
            answer = self.model(image)
        expected = main_output(answer)
        place = next(i for i, tensor in enumerate(tensors_in(answer)) if tensor is expected)
        try:
            program = Program(record(self.model, (_another(image),)), self.model, self.graph, place)
        except (TraceError, UnsupportedError) as error:
            self.work.brute_force = str(error)
            return None
        logits, _ = program.run(image, ())
        self.work.whole_runs += 2
        self.work.flops += 2 * counter.get_total_flops()
        if not _alike(logits, expected) and not self._alike_in_double(image, place):
            self.work.brute_force = "the recorded operators answer otherwise than the model"
            return None
        parts = parts_of(program, self.graph.prunable.nonzero().squeeze(1))
        boundary = set().union(*(part.boundary for part in parts))
        return _Plan(program, parts, sum(map(bytes_of, boundary)), counter.get_total_flops())

    def _alike_in_double(self, image: Tensor, place: int) -> bool:
        """Whether program and model agree where nothing is rounded: on a GPU float32 alone can't tell."""
        found = in_double(self.model, (image,))
        if found is None:
            return False
        model, (exact,) = found
        program = Program(record(model, (_another(exact),)), model, self.graph, place)
        return _alike(program.run(exact, ())[0], main_output(model(exact)))


def _another(image: Tensor) -> Tensor:
    """An image of the same size with other values."""
    return 0.9 * image.flip(-1)


def _alike(logits: Tensor, expected: Tensor) -> bool:
    return torch.allclose(logits, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
