"""Which layer gives the next filter, decided before the filters are looked at. Controls for every method.

Knows widths, now and in the original; the order within a layer comes from another method. Scores are positive.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.random import Random
from pruning_lab.importance.scopes import first_layers
from pruning_lab.importance.scoring import Batches, Importance


@dataclass(frozen=True)
class Uniform:
    """The same share of every layer: the next filter leaves where the largest share of the original is left.

    Args:
        order: the method that says which filters of a layer leave first.
    """

    order: Importance = field(default_factory=Random)

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        left = _left_when_it_leaves(graph, self.order(model, graph, batches))
        originally = torch.tensor([float(width) for width in graph.original_widths.values()])
        return 1 / (1 + left / originally[first_layers(graph)])


@dataclass(frozen=True)
class LargestLayerRandom:
    """A random filter of the layer that is widest at that moment.

    Args:
        seed: of the order within a layer.
    """

    seed: int = 0

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        return 1 / (1 + _left_when_it_leaves(graph, Random(self.seed)(model, graph, batches)))


def _left_when_it_leaves(graph: ChannelGraph, scores: Tensor) -> Tensor:
    """How many filters its layer has left when a group's turn comes, float [n_groups], if all leave lowest first.

    A group counts in the layer of its first filter, with as many filters as it has there. Groups that can't be cut
    come last.
    """
    layers = first_layers(graph)
    widths = torch.tensor([float(len(row)) for row in graph.layers.values()])
    groups_in = torch.bincount(layers, minlength=len(widths))
    order = scores.argsort(stable=True)
    order = order[(~graph.prunable[order]).long().argsort(stable=True)]
    order = order[layers[order].argsort(stable=True)]
    starts = groups_in.cumsum(0) - groups_in
    turn = torch.empty(len(graph))
    turn[order] = (torch.arange(len(graph)) - starts[layers[order]]).float()
    return widths[layers] * (1 - turn / groups_in[layers])
