"""The norm of a filter's weights. Knows weights alone.

Source: Li et al., "Pruning filters for efficient ConvNets" (2017), which ranks by it within a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, FilterImportance, FilterScores
from pruning_lab.importance.weights.kernels import check_p, filter_weights, norms


@dataclass(frozen=True)
class WeightNorm(FilterImportance):
    """||W_k||_p, divided by the number of weights in the kernel so that layers can be compared.

    Args:
        p: 1 or 2.
        per_weight: divide by in_channels / groups x kh x kw (p = 1), or by its root (p = 2).
    """

    p: int = 1
    per_weight: bool = True

    def __post_init__(self) -> None:
        check_p(self.p)

    def by_filter(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> FilterScores:
        scores = {}
        for layer, kernel in filter_weights(model, graph).items():
            flat = kernel.float().flatten(1)
            norm = norms(flat, self.p)
            scores[layer] = norm / flat.shape[1] ** (1 / self.p) if self.per_weight else norm
        return scores
