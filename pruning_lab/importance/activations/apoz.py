"""The share of positions at which a group's channels are awake. Knows activations alone.

Source: Hu et al., "Network trimming: a data-driven neuron pruning approach" (2016), whose APoZ, the average percentage
of zeros, counts against a filter; so the score is one minus it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.activations.means import mean_of_reads
from pruning_lab.importance.contract import Batches


@dataclass(frozen=True)
class Apoz:
    """Share of images and positions, in [0, 1], at which the activation is not 0, as the consumers read it."""

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        return mean_of_reads(model, graph, batches, _awake)


def _awake(layer: str, activation: Tensor) -> Tensor:
    """[N, channels]."""
    flat = activation.flatten(2) if activation.dim() > 2 else activation.unsqueeze(2)
    if flat.is_cuda:  # how many are not 0, in one reading, as memory is what a GPU waits for
        return torch.linalg.vector_norm(flat, 0, 2, dtype=torch.float32) / flat.shape[2]
    # Five times as fast as count_nonzero.
    return flat.sign().abs_().mean(2, dtype=torch.float32)
