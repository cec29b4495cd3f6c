"""The norm of a filter's weights (Li et al., "Pruning filters for efficient ConvNets", 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.scoring import Batches, filter_weights, to_groups


@dataclass(frozen=True)
class WeightNorm:
    """||W_k||_p, divided by the number of weights in the kernel so that layers can be compared.

    Args:
        p: 1 or 2.
        per_weight: divide by in_channels / groups x kh x kw (p = 1), or by its root (p = 2).
        reduce: over the filters of a group: mean, sum, amax.
    """

    p: int = 1
    per_weight: bool = True
    reduce: str = "mean"

    def __post_init__(self) -> None:
        if self.p not in (1, 2):
            raise LabError(f"importance.p={self.p} must be 1 or 2")

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        scores = {}
        for layer, kernel in filter_weights(model, graph).items():
            flat = kernel.float().flatten(1)
            norm = torch.linalg.vector_norm(flat, ord=self.p, dim=1)
            scores[layer] = norm / flat.shape[1] ** (1 / self.p) if self.per_weight else norm
        return to_groups(graph, scores, self.reduce)
