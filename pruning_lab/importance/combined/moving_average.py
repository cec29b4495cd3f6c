"""Scores that remember earlier steps. Knows where every filter stood in the original, and no formula."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, Importance, to_groups


@dataclass
class MovingAverage:
    """decay x what was remembered + (1 - decay) x the new score; a group's first score is taken as it is.

    Groups are renumbered by every cut, so memory is kept by the original place of their first filters. One object
    belongs to one run; `state_dict` and `load_state_dict` carry its memory over a restart.

    Args:
        method: gives the new scores.
        decay: share of the memory, in [0, 1).
    """

    method: Importance
    decay: float = 0.9
    memory: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise LabError(f"importance.decay={self.decay} must be at least 0 and below 1")

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        new = self.method(model, graph, batches).float().cpu()
        for layer, width in graph.original_widths.items():
            self.memory.setdefault(layer, torch.full((width,), float("nan")))
        old = to_groups(graph, {layer: self.memory[layer][kept] for layer, kept in graph.original.items()}, "first")
        scores = torch.where(old.isnan(), new, self.decay * old + (1 - self.decay) * new)
        for layer, kept in graph.original.items():
            ids = graph.layers[layer]
            self.memory[layer][kept[ids >= 0]] = scores[ids[ids >= 0]]
        return scores

    def state_dict(self) -> dict[str, Tensor]:
        """Layer -> float [original filters], NaN where nothing is remembered."""
        return {layer: remembered.clone() for layer, remembered in self.memory.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up a memory where `state_dict` left it."""
        self.memory = {layer: remembered.clone() for layer, remembered in state.items()}
