"""Several methods as one: sums, products, averages of ranks. Knows the contract alone.

Each is a method itself, so that they nest. All methods see the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.combined.normalized import normalize
from pruning_lab.importance.contract import Batches, Importance, replayable


@dataclass(frozen=True)
class WeightedSum:
    """Sum of weight x score. Wrap methods of different scales in `Normalized` first.

    Args:
        methods: give the scores.
        weights: one for each method; None weighs them alike, as 1 / number of methods.
    """

    methods: Sequence[Importance]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        _check(self.methods, self.weights)

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        return _weighted(_all_scores(self.methods, model, graph, batches), self.weights)


@dataclass(frozen=True)
class Product:
    """Product of score ** power; scores must not be negative. A group that one method gives 0 is worth 0.

    Args:
        methods: give the scores.
        powers: one for each method; None means 1.
    """

    methods: Sequence[Importance]
    powers: Sequence[float] | None = None

    def __post_init__(self) -> None:
        _check(self.methods, self.powers)

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        scores = _all_scores(self.methods, model, graph, batches).double()
        negative = (scores < 0).any(1).nonzero().flatten().tolist()
        if negative:
            name = type(self.methods[negative[0]]).__name__
            raise LabError(f"importance Product got negative scores from {name}; wrap it in Normalized with by=rank")
        powers = torch.tensor([1.0] * len(scores) if self.powers is None else list(self.powers), dtype=torch.float64)
        return (scores ** powers.unsqueeze(1)).prod(0).float()


@dataclass(frozen=True)
class RankAverage:
    """Weighted mean of each group's place, in (0, 1], in every method's order over the whole network.

    Args:
        methods: give the orders.
        weights: one for each method; None weighs them alike.
    """

    methods: Sequence[Importance]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        _check(self.methods, self.weights)

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        everywhere = torch.zeros(len(graph), dtype=torch.int64)
        scores = _all_scores(self.methods, model, graph, batches)
        ranks = torch.stack([normalize(row, everywhere, "rank") for row in scores])
        total = 1.0 if self.weights is None else sum(self.weights)
        return _weighted(ranks, self.weights) / total


def _all_scores(methods: Sequence[Importance], model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
    """float [methods, n_groups]."""
    batches = replayable(batches)
    return torch.stack([method(model, graph, batches) for method in methods])


def _weighted(scores: Tensor, weights: Sequence[float] | None) -> Tensor:
    share = torch.tensor([1 / len(scores)] * len(scores) if weights is None else list(weights), dtype=scores.dtype)
    return (share.unsqueeze(1) * scores).sum(0)


def _check(methods: Sequence[Importance], numbers: Sequence[float] | None) -> None:
    if not methods:
        raise LabError("importance.methods is empty; list at least one method")
    if numbers is not None and len(numbers) != len(methods):
        raise LabError(f"importance.methods has {len(methods)} entries, not {len(numbers)}; give one number for each")
