"""Scores made comparable: within a layer, within layers of one kind, or over the whole network. Knows no formula."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, Importance
from pruning_lab.importance.scopes import SCOPES, ranks, scope_of

NORMALIZATIONS = ("none", "mean", "max", "sum", "rank", "gaussian")


@dataclass(frozen=True)
class Normalized:
    """Another method's scores, each normalized by those of its scope.

    Args:
        method: gives the scores.
        scope: `layer`, `kind` (layers that are alike; with `rank` this is isomorphic pruning), or `global`.
        by: `none`; `mean`, `max` or `sum`: divided by it; `rank`: place in the scope's order over its size, in (0, 1],
            equal scores sharing their mean place; `gaussian`: the share of a normal distribution of the scope's mean
            and standard deviation that lies below, in (0, 1).
    """

    method: Importance
    scope: str = "layer"
    by: str = "mean"

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise LabError(f"importance.scope={self.scope} is not known; use one of {', '.join(SCOPES)}")
        if self.by not in NORMALIZATIONS:
            raise LabError(f"importance.by={self.by} is not known; use one of {', '.join(NORMALIZATIONS)}")

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        return normalize(self.method(model, graph, batches), scope_of(model, graph, self.scope), self.by)


def normalize(scores: Tensor, scope: Tensor, by: str) -> Tensor:
    """Normalize within scopes.

    Args:
        scores: float [n].
        scope: int64 [n], the number of each entry's scope.
        by: one of NORMALIZATIONS. A scope whose mean, max or sum is 0 stays as it is.

    Returns:
        float32 [n].
    """
    values = scores.double()
    if by == "none" or not len(values):
        return values.float()
    if by == "rank":
        return ranks(values, scope).float()
    size = torch.bincount(scope).double()
    total = torch.zeros_like(size).index_add(0, scope, values)
    if by == "gaussian":
        apart = values - (total / size)[scope]
        deviation = (torch.zeros_like(size).index_add(0, scope, apart.square()) / size).sqrt()
        return torch.special.ndtr(apart / _not_zero(deviation)[scope]).float()
    if by == "max":
        by_scope = torch.zeros_like(size).scatter_reduce(0, scope, values, "amax", include_self=False)
    else:
        by_scope = total / size if by == "mean" else total
    return (values / _not_zero(by_scope)[scope]).float()


def _not_zero(values: Tensor) -> Tensor:
    return torch.where(values == 0, 1.0, values)
