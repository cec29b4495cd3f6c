"""HRank: a map of low rank carries little. Knows activations alone.

Source: Lin et al., "HRank: Filter pruning using high-rank feature map" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.activations.means import mean_of_reads
from pruning_lab.importance.contract import Batches


@dataclass(frozen=True)
class HRank:
    """Mean over images of rank(map) / min(height, width), as the consumers read the map.

    A singular value decomposition per map: seconds per image on large maps, so give it few images. What is read
    without height and width, by a linear layer, has rank 1 or 0.
    """

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        return mean_of_reads(model, graph, batches, _share_of_full_rank)


def _share_of_full_rank(layer: str, activation: Tensor) -> Tensor:
    """[N, channels]."""
    maps = activation if activation.dim() >= 4 else activation.reshape(*activation.shape[:2], -1, 1)
    maps = maps.flatten(3).float()
    return torch.linalg.matrix_rank(maps) / min(maps.shape[2:])
