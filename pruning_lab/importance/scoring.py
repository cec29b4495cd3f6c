"""What importance methods share: the contract, a layer's weights by filter, and from filters' scores to groups'.

Knows the graph's arrays and modules' weights; not how any method judges them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from pruning_lab.errors import LabError
from pruning_lab.graph import ChannelGraph

Batches = Iterable[tuple[Tensor, Tensor]]
"""Pairs of image [N, C, H, W] and mask [N, H, W]."""

FilterScores = dict[str, Tensor]
"""Layer name -> float [filters]."""

REDUCTIONS = {"mean": "mean", "sum": "sum", "max": "amax"}
"""How the scores of a group's filters become one -> torch's word for it; `first` is the fourth way."""


class Importance(Protocol):
    """Anything that scores groups."""

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        """Float tensor [n_groups], higher is worth more; infinity forbids that the group leaves."""


class FilterImportance(ABC):
    """A method that judges filter by filter; a group is worth the mean of its filters (see `Reduced` for others)."""

    @abstractmethod
    def by_filter(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> FilterScores:
        """Layer name -> float [filters]; a layer that the method can't see is left out."""

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        return to_groups(graph, self.by_filter(model, graph, batches))


def filter_weights(model: nn.Module, graph: ChannelGraph) -> dict[str, Tensor]:
    """Layer -> its kernels, [filters, in_channels / groups, *kernel], detached."""
    return {layer: _kernels(model, graph, layer) for layer in graph.layers}


def check_p(p: int) -> None:
    """Raises LabError unless p is a norm that `norms` takes."""
    if p not in (1, 2):
        raise LabError(f"importance.p={p} must be 1 or 2")


def norms(rows: Tensor, p: int) -> Tensor:
    """||row||_p of a matrix [n, m] for p in {1, 2}, float [n]; for p = 1 a plain sum is faster than torch's norm."""
    return rows.abs().sum(1) if p == 1 else torch.linalg.vector_norm(rows, dim=1)


def _kernels(model: nn.Module, graph: ChannelGraph, layer: str) -> Tensor:
    module = submodule(model, layer)
    weight = model.get_parameter(layer) if module is None else cast(Tensor, module.weight)
    weight = weight.detach()
    if getattr(module, "transposed", False):
        groups = cast(int, module.groups)  # type: ignore[union-attr]
        blocks = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        return blocks.transpose(1, 2).flatten(0, 1)
    if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
        return weight
    info = graph.tensors.get(layer if module is None else f"{layer}.weight")
    if info is None:
        return weight
    filter_dim = _filter_dim(info.axes, graph.layers[layer])
    input_dim = next((read.dim for read in graph.consumers if read.layer == layer), filter_dim)
    return weight.movedim((filter_dim, input_dim), (0, 1)) if input_dim != filter_dim else weight.movedim(filter_dim, 0)


def submodule(model: nn.Module, layer: str) -> nn.Module | None:
    """The layer's module; None where the layer is a bare parameter."""
    try:
        return model.get_submodule(layer)
    except AttributeError:
        return None


def modules_of(model: nn.Module, layer: str) -> list[nn.Module]:
    """The layer's module and those that share its weight; none where the layer is a bare parameter."""
    own = submodule(model, layer)
    if own is None:
        return []
    weight = own._parameters.get("weight")
    sharing = [module for module in model.modules() if module._parameters.get("weight") is weight]
    return [own] if weight is None else sharing


def _filter_dim(axes: Mapping[int, Tensor], ids: Tensor) -> int:
    return next((dim for dim, row in axes.items() if row.shape == ids.shape and bool((row == ids).all())), 0)


def to_groups(graph: ChannelGraph, by_layer: Mapping[str, Tensor], reduce: str = "mean") -> Tensor:
    """Reduce filters' scores to groups'.

    Args:
        by_layer: layer -> float [filters].
        reduce: over a group's filters: mean, sum, max, or first (the filter that the network gives out first).

    Returns:
        float32 [n_groups]; 0 for groups of which no filter has a score.

    Raises:
        LabError: there is no such reduction.
    """
    if reduce != "first" and reduce not in REDUCTIONS:
        raise LabError(f"importance: a group's filters can't be reduced by '{reduce}'; use mean, sum, max or first")
    if not by_layer:
        return torch.zeros(len(graph))
    in_order = [layer for layer in graph.layers if layer in by_layer]
    ids = torch.cat([graph.layers[layer] for layer in in_order])
    values = torch.cat([by_layer[layer].detach().float().cpu() for layer in in_order])
    if reduce == "first":
        return over_first(ids, values, len(graph))
    return over_ids(ids, values, len(graph), reduce)


def over_ids(ids: Tensor, values: Tensor, count: int, reduce: str) -> Tensor:
    """Reduce values [k] that share an id [k] by mean, sum or max: [count], 0 where an id does not occur."""
    known = ids >= 0
    result = values.new_zeros(count)
    return result.scatter_reduce(0, ids[known], values[known], REDUCTIONS[reduce], include_self=False)


def over_first(ids: Tensor, values: Tensor, count: int) -> Tensor:
    """The value at the first place of each id: [count], 0 where an id does not occur."""
    known = (ids >= 0).nonzero().squeeze(1)
    place = torch.full((count,), len(ids)).scatter_reduce(0, ids[known], known, "amin")
    return torch.cat([values, values.new_zeros(1)])[place]


def replayable(batches: Batches) -> Batches:
    """Batches that can be gone through more than once; a one-way iterator is kept in memory for that."""
    return list(batches) if isinstance(batches, Iterator) else batches


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
    # Infinity is a way to say that a group must stay; minus infinity and NaN say nothing.
    if not bool((scores[graph.prunable] > -torch.inf).all()):
        raise LabError(f"importance {name} returned scores that are not finite; check its formula on this model")
    return scores
