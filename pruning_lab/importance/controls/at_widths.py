"""Random filters down to given widths: did it matter which filters left, or only how many of each layer?

The control for every method that chooses widths by itself. Knows widths; neither weights nor images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches
from pruning_lab.importance.controls.random import Random

ANOTHER_STREAM = 2**40
"""Added to the seed for the order in which groups leave, so that it says nothing of which ones leave."""


@dataclass(frozen=True)
class RandomAtWidths:
    """Scores below 1 for the groups that leave until every layer has its width, infinity for those that stay.

    Which groups leave is drawn once for every filter of the original model, so that it is the same after every step.
    Tied layers lose common groups first, and the rest one by one.

    Args:
        widths: layer -> filters to come down to, for every layer of the model.
        seed: of the draws.
    """

    widths: Mapping[str, int]
    seed: int = 0

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        drawn = Random(self.seed)(model, graph, batches)
        order = Random(self.seed + ANOTHER_STREAM)(model, graph, batches)
        return torch.where(self._leaving(graph, drawn), order, torch.inf)

    def _leaving(self, graph: ChannelGraph, drawn: Tensor) -> Tensor:
        """The groups of which the model is rid when it has the widths, bool [n_groups]."""
        surplus = self._surplus(graph)
        members = _members(graph)
        leaving = torch.zeros(len(graph), dtype=torch.bool)
        candidates = graph.prunable.nonzero().squeeze(1).tolist()
        for group in sorted(candidates, key=lambda group: (-members[group].total(), float(drawn[group]))):
            if all(surplus[layer] >= count for layer, count in members[group].items()):
                surplus.subtract(members[group])
                leaving[group] = True
        if stuck := [layer for layer, count in surplus.items() if count]:
            raise LabError(
                f"importance.run: {stuck[0]} can't come down to {self.widths[stuck[0]]} filters by whole groups; "
                "give a run of this very model"
            )
        return leaving

    def _surplus(self, graph: ChannelGraph) -> Counter[str]:
        """Layer -> filters that it has to lose."""
        if strange := sorted(self.widths.keys() ^ graph.layers.keys()):
            where = "the run" if strange[0] in self.widths else "this model"
            raise LabError(f"importance.run: only {where} has a layer {strange[0]}; give a run of this very model")
        surplus = Counter({layer: width - self.widths[layer] for layer, width in graph.widths.items()})
        if narrow := [layer for layer, count in surplus.items() if count < 0]:
            raise LabError(
                f"importance.run: the run keeps {self.widths[narrow[0]]} filters of {narrow[0]}, this model has "
                f"{graph.widths[narrow[0]]}; give a run of this very model"
            )
        return surplus


def _members(graph: ChannelGraph) -> list[Counter[str]]:
    """For every group, layer -> how many of its filters are in it."""
    members: list[Counter[str]] = [Counter() for _ in range(len(graph))]
    for layer, row in graph.layers.items():
        for group in row[row >= 0].tolist():
            members[group][layer] += 1
    return members
