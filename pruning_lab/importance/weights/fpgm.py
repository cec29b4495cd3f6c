"""FPGM: a filter near the geometric median of its layer can be replaced by the others. Knows weights alone.

Source: He et al., "Filter pruning via geometric median for deep convolutional neural networks acceleration" (2019):
the sum of the distances to all filters of the layer, which is least near the median.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, FilterImportance, FilterScores
from pruning_lab.importance.weights.kernels import check_p, filter_weights


@dataclass(frozen=True)
class Fpgm(FilterImportance):
    """Sum over the layer's filters j of ||W_k - W_j||_p. Layers are comparable only after `Normalized`.

    Args:
        p: 1 or 2, the norm of the distance.
    """

    p: int = 2

    def __post_init__(self) -> None:
        check_p(self.p)

    def by_filter(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> FilterScores:
        scores = {}
        for layer, kernel in filter_weights(model, graph).items():
            # In double precision the quick way by a matrix product keeps a filter and its twin close enough to 0 apart.
            flat = kernel.double().flatten(1)
            distances = torch.cdist(flat, flat, p=self.p, compute_mode="use_mm_for_euclid_dist")
            scores[layer] = distances.sum(1).float()
        return scores
