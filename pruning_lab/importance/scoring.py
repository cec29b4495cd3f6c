"""What importance methods share: the contract, a layer's weights by filter, and from filters' scores to groups'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from pruning_lab.errors import LabError
from pruning_lab.graph import ChannelGraph

Batches = Iterable[tuple[Tensor, Tensor]]


class Importance(Protocol):
    """Anything that scores groups."""

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        """Float tensor [n_groups], higher is worth more."""


def filter_weights(model: nn.Module, graph: ChannelGraph) -> dict[str, Tensor]:
    """Layer -> its kernels, float [filters, in_channels / groups, *kernel], detached."""
    return {layer: _kernels(model, graph, layer) for layer in graph.layers}


def _kernels(model: nn.Module, graph: ChannelGraph, layer: str) -> Tensor:
    try:
        module: nn.Module | None = model.get_submodule(layer)
    except AttributeError:
        module = None
    if module is None:
        axes = graph.tensors[layer].axes
        ids = graph.layers[layer]
        dim = next(d for d, row in axes.items() if row.shape == ids.shape and bool((row == ids).all()))
        return model.get_parameter(layer).detach().movedim(dim, 0)
    weight = cast(Tensor, module.weight).detach()
    if not getattr(module, "transposed", False):
        return weight
    groups = cast(int, module.groups)
    blocks = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return blocks.transpose(1, 2).flatten(0, 1)


def to_groups(graph: ChannelGraph, by_layer: Mapping[str, Tensor], reduce: str = "mean") -> Tensor:
    """Reduce filters' scores to groups'.

    Args:
        by_layer: layer -> float [filters].
        reduce: over a group's filters: mean, sum, or amax.

    Returns:
        float32 [n_groups]; 0 for groups of which no filter has a score.
    """
    ids = torch.cat([graph.layers[layer] for layer in by_layer]) if by_layer else torch.empty(0, dtype=torch.int64)
    values = torch.cat([score.detach().float().cpu() for score in by_layer.values()]) if by_layer else torch.empty(0)
    known = ids >= 0
    return torch.zeros(len(graph)).scatter_reduce(0, ids[known], values[known], reduce, include_self=False)


def check_scores(scores: Tensor, graph: ChannelGraph, method: object) -> Tensor:
    """Scores as float [n_groups] on the CPU.

    Raises:
        LabError: a method broke the contract.
    """
    name = type(method).__name__
    if not isinstance(scores, Tensor) or scores.shape != (len(graph),):
        found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise LabError(f"importance {name} must return a float tensor [{len(graph)}], one score per group, not {found}")
    scores = scores.detach().float().cpu()
    if not bool(torch.isfinite(scores[graph.prunable]).all()):
        raise LabError(f"importance {name} returned scores that are not finite; check its formula on this model")
    return scores
