"""Readers' weights by least squares: what the same filters gave before, from what the small network hands them now.

Source of the idea, for chains of layers: He et al., "Channel pruning for accelerating very deep neural networks"
(2017); Luo et al., "ThiNet" (2017); Dong et al., "Layer-wise optimal brain surgeon" (2017). The channel graph has it
for any network: it knows every reader of every group.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.compensation.contract import Batches, Before, Report
from pruning_lab.compensation.readers import Reader
from pruning_lab.compensation.sampling import Sampling
from pruning_lab.compensation.solve import Solution, solve, solve_shift
from pruning_lab.compensation.sweep import sweep
from pruning_lab.graph import ChannelGraph


@dataclass(frozen=True)
class LeastSquares:
    """Solve every reader's weights anew, layer by layer in the network's order.

    Args:
        images: training images to look at, at most.
        work: billions of multiply-adds for the forward passes over them, at most, so that a large network is not looked
            at for minutes; None for any number.
        samples: places of a reader's output to look at, at most, over all images.
        ridge: how strongly a reader is held to the weights that the cut left it: 1 as the rule of `solve` says, 0 not
            at all.
        memory_mb: bounds what the images take in both networks, and the rows of a reader; fewer of them are looked at
            where they do not fit, which the report says.
        seed: draws the places.
    """

    images: int = 48
    work: float | None = 60
    samples: int = 4096
    ridge: float = 1.0
    memory_mb: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        if self.ridge < 0:
            raise LabError(f"compensation.ridge={self.ridge} must not be negative")
        self._sampling()

    @property
    def needs_before(self) -> bool:
        return True

    def __call__(self, before: Before | None, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Report:
        if before is None:
            raise LabError("compensation=least_squares needs the network before the cut; give Before.of(model, graph)")
        return sweep(before, model, graph, batches, self._sampling(), self._solve, resized=True)

    def _sampling(self) -> Sampling:
        return Sampling(self.images, self.samples, self.memory_mb, self.seed, self.work)

    def _solve(self, reader: Reader, seen: Tensor, missing: Tensor) -> Solution:
        if reader.weight is None:
            return solve_shift(missing, reader.shifts)
        return solve(seen, missing, self.ridge, reader.shifts)
