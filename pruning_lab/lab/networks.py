"""A pruned network from its base: what is kept of each layer says all but the weights. Must not know of files."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut

Kept = Mapping[str, Sequence[int]]
"""Layer -> the indices that its filters had in the base."""


def kept_of(graph: ChannelGraph) -> dict[str, list[int]]:
    """What is kept of each layer of the base."""
    return {name: indices.tolist() for name, indices in graph.original.items()}


def groups_gone(graph: ChannelGraph, kept: Kept) -> Tensor:
    """The groups of the base's graph that left on the way to what is kept, bool [n_groups].

    Raises:
        LabError: a layer is not of this network, or not of its width.
    """
    gone = torch.zeros(len(graph), dtype=torch.bool)
    for name, indices in kept.items():
        if name not in graph.layers or max(indices, default=0) >= len(graph.layers[name]):
            raise LabError(f"layer {name} is not that of the base; go back to the code that the run was made with")
        left = torch.ones(len(graph.layers[name]), dtype=torch.bool)
        left[list(indices)] = False
        gone[graph.layers[name][left]] = True
    return gone


def reduced(
    base: nn.Module, graph: ChannelGraph, kept: Kept, optimizer: Optimizer | None = None
) -> tuple[nn.Module, ChannelGraph]:
    """The network that is left, with the base's weights, and its graph.

    Args:
        graph: of the base. Neither is changed, but for a base whose optimizer is given: that is cut in place.
    """
    model = copy.deepcopy(base) if optimizer is None else base
    graph, gone = copy.copy(graph), groups_gone(graph, kept)
    cut(model, graph, gone, optimizer)
    return model, graph
