"""What is cut is replaced by its mean: every reader's bias takes what its output lacks on average.

Source: Molchanov et al., "Pruning convolutional neural networks for resource efficient inference" (2017) take a
channel's mean for it. Here the mean is that of the reader's output, so that borders count as they do in the network,
and layers are seen in the network's order, from what the repaired layers before them hand on.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.compensation.contract import Batches, Before, Report
from pruning_lab.compensation.readers import Reader
from pruning_lab.compensation.sampling import Sampling
from pruning_lab.compensation.solve import Solution, solve_shift
from pruning_lab.compensation.sweep import sweep
from pruning_lab.graph import ChannelGraph


@dataclass(frozen=True)
class Mean:
    """Shift every reader's output by the mean of what it lacks; a batch norm behind takes it where there is no bias.

    Args:
        images, samples, memory_mb, seed: what is looked at, as for `LeastSquares`.
    """

    images: int = 48
    samples: int = 4096
    memory_mb: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        self._sampling()

    @property
    def needs_before(self) -> bool:
        return True

    def __call__(self, before: Before | None, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Report:
        if before is None:
            raise LabError("compensation=mean needs the network before the cut; give Before.of(model, graph)")
        return sweep(before, model, graph, batches, self._sampling(), _mean_only)

    def _sampling(self) -> Sampling:
        return Sampling(self.images, self.samples, self.memory_mb, self.seed)


def _mean_only(reader: Reader, seen: Tensor, missing: Tensor) -> Solution:
    return solve_shift(missing, reader.shifts)
