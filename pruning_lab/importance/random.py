"""Random scores: the control that every method has to beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.scoring import Batches


class Random:
    """Uniform in [0, 1), drawn once for every filter of the original model and kept while the network shrinks.

    A group's draw is that of its first filter, so that groups of many filters are no likelier to stay than others.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        draws = {layer: torch.rand(width, generator=generator) for layer, width in graph.original_widths.items()}
        scores = torch.zeros(len(graph))
        for layer, ids in reversed(graph.layers.items()):
            known = ids >= 0
            scores[ids[known].flip(0)] = draws[layer][graph.original[layer]][known].flip(0)
        return scores
