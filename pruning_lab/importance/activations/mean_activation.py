"""How strongly a group's channels are felt where they are read. Knows activations alone.

Source: Molchanov et al., "Pruning convolutional neural networks for resource efficient inference" (2017), section 2.2,
with absolute values, so that it also serves networks whose activations can be negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.activations.means import mean_of_reads
from pruning_lab.importance.contract import Batches


@dataclass(frozen=True)
class MeanActivation:
    """Mean |activation| over images and positions, as the consumers read it."""

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        return mean_of_reads(model, graph, batches, _mean_size)


def _mean_size(layer: str, activation: Tensor) -> Tensor:
    """[N, channels]."""
    flat = activation.flatten(2) if activation.dim() > 2 else activation.unsqueeze(2)
    if flat.is_cuda:  # in one reading, as memory is what a GPU waits for; on a CPU it takes three times as long
        return torch.linalg.vector_norm(flat, 1, 2, dtype=torch.float32) / flat.shape[2]
    return flat.abs().mean(2, dtype=torch.float32)
