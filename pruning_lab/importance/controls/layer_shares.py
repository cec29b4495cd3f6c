"""Which layer gives the next filter, decided before the filters are looked at. Controls for every method.

Knows widths, now and in the original; the order within a layer comes from another method. Scores are positive.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, Importance
from pruning_lab.importance.controls.random import Random
from pruning_lab.importance.scopes import first_layers


@dataclass(frozen=True)
class Uniform:
    """The same share of every layer: the next filter leaves where the largest share of the original is left.

    Args:
        order: the method that says which filters of a layer leave first.
    """

    order: Importance = field(default_factory=Random)

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        layers = first_layers(graph)
        left = _left_when_it_leaves(graph, layers, self.order(model, graph, batches))
        originally = torch.tensor([float(width) for width in graph.original_widths.values()])
        return 1 / (1 + left / originally[layers])


@dataclass(frozen=True)
class LargestLayerRandom:
    """A random filter of the layer that is widest at that moment.

    Args:
        seed: of the order within a layer.
    """

    seed: int = 0

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        order = Random(self.seed)(model, graph, batches)
        return 1 / (1 + _left_when_it_leaves(graph, first_layers(graph), order))


def _left_when_it_leaves(graph: ChannelGraph, layers: Tensor, scores: Tensor) -> Tensor:
    """How many filters its layer has left when a group's turn comes, float [n_groups], if all leave lowest first.

    A group counts in the layer of its first filter (`layers`, int64 [n_groups]), with as many filters as it has
    there. Groups that can't be cut come last.
    """
    widths = torch.tensor([float(len(row)) for row in graph.layers.values()])
    groups_in = torch.bincount(layers, minlength=len(widths))
    order = scores.argsort(stable=True)
    order = order[_order_of_numbers((2 * layers + ~graph.prunable)[order])]
    starts = groups_in.cumsum(0) - groups_in
    turn = torch.empty(len(graph))
    turn[order] = (torch.arange(len(graph)) - starts[layers[order]]).float()
    return widths[layers] * (1 - turn / groups_in[layers])


def _order_of_numbers(numbers: Tensor) -> Tensor:
    """The stable order of numbers from 0 on, int64 [n]; numpy sorts those of 16 bits by their digits, in no time."""
    if not len(numbers):
        return numbers
    small = numbers.numpy().astype(np.min_scalar_type(int(numbers.max())))
    return torch.from_numpy(small.argsort(kind="stable"))
