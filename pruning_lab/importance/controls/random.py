"""Random scores: the control that every method has to beat. Knows neither weights nor images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, to_groups


@dataclass(frozen=True)
class Random:
    """Uniform in [0, 1), drawn once for every filter of the original model and kept while the network shrinks.

    A group's draw is that of its first filter, so that groups of many filters are no likelier to stay than others.

    Args:
        seed: of the draws.
    """

    seed: int = 0

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        draws = {layer: torch.rand(width, generator=generator) for layer, width in graph.original_widths.items()}
        return to_groups(graph, {layer: draws[layer][kept] for layer, kept in graph.original.items()}, "first")
