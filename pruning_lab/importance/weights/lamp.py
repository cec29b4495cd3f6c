"""LAMP: a filter's squared norm as a share of what would still be there when it leaves. Knows weights alone.

Source: Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning" (2021), with whole filters in the place of
single weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, FilterImportance, FilterScores
from pruning_lab.importance.weights.kernels import filter_weights


@dataclass(frozen=True)
class Lamp(FilterImportance):
    """||W_k||^2 / sum of ||W_j||^2 over the layer's filters j that are at least as large; the largest gets 1."""

    def by_filter(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> FilterScores:
        return {layer: _lamp(kernel) for layer, kernel in filter_weights(model, graph).items()}


def _lamp(kernel: Tensor) -> Tensor:
    squared = kernel.double().flatten(1).square().sum(1)
    ordered, order = squared.sort(stable=True)
    from_here_up = ordered.flip(0).cumsum(0).flip(0)
    # Filters of one norm share the sum that counts all of them.
    first_equal = torch.searchsorted(ordered, ordered)
    share = ordered / from_here_up[first_equal].clamp_min(torch.finfo(torch.float64).tiny)
    return torch.empty_like(squared).scatter(0, order, share).float()
