"""What importance methods share: the contract, a layer's weights by filter, and from filters' scores to groups'.

Knows the graph's arrays and modules' weights; not how any method judges them.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NoReturn, Protocol

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph

_log = logging.getLogger(__name__)

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
    values = in_a_row([by_layer[layer] for layer in in_order])
    if reduce == "first":
        return over_first(ids, values, len(graph))
    return over_ids(ids, values, len(graph), reduce)


def in_a_row(scores: Sequence[Tensor]) -> Tensor:
    """Scores of several layers, one after another: float32 [all filters] on the CPU, moved there in one go."""
    if not scores:
        return torch.zeros(0)
    devices = {score.device for score in scores}
    rows = [score.detach().float() for score in scores]
    return torch.cat(rows if len(devices) == 1 else [row.cpu() for row in rows]).cpu()


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


def places_of(ids: Tensor, groups: int) -> Tensor:
    """A row of ids [k] as places in a vector over groups with one entry more, the last, for channels of no group."""
    return ids % (groups + 1)


def replayable(batches: Batches) -> Batches:
    """Batches that can be gone through more than once; a one-way iterator is kept in memory for that."""
    return list(batches) if isinstance(batches, Iterator) else batches


def check_scores(scores: Tensor, graph: ChannelGraph, method: object) -> Tensor:
    """Scores as float [n_groups] on the CPU; a group without one (NaN) gets infinity: it stays, and a warning names it.

    Raises:
        LabError: a method broke the contract, or gave no group a score.
    """
    name = type(method).__name__
    if not isinstance(scores, Tensor) or scores.shape != (len(graph),):
        found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise LabError(f"importance {name} must return a float tensor [{len(graph)}], one score per group, not {found}")
    scores = scores.detach().float().cpu()
    # Infinity is a way to say that a group must stay; minus infinity and NaN say nothing.
    silent = ~(scores > -torch.inf) & graph.prunable
    if not bool(silent.any()):
        return scores
    layer, index = graph.group(int(silent.nonzero()[0])).filters[0]
    first = f"filter {index} of {layer} first, {int(silent.sum())} of {int(graph.prunable.sum())} groups"
    if bool((silent == graph.prunable).all()) or bool((scores[graph.prunable] == -torch.inf).any()):
        raise LabError(
            f"importance {name} returned scores that are not finite ({first}); check its formula on this model"
        )
    _log.warning(
        "importance %s has no score (NaN) for %s; they stay: look for NaN in the weights and the images", name, first
    )
    return scores.masked_fill(silent, torch.inf)


def readers(graph: ChannelGraph) -> Mapping[str, Tensor]:
    """Layer -> int64 [in_channels], the group of each channel it reads; layers that read no group are left out."""
    return {read.layer: read.channels for read in graph.consumers if read.layer and bool((read.channels >= 0).any())}


def raise_no_images() -> NoReturn:
    """Raises: LabError, always."""
    raise LabError("importance got no images to look at; raise loader.score_images or choose a method of weights alone")
