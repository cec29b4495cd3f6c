"""How filters that are tied together become one score, for methods that judge filter by filter. Knows no formula."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import REDUCTIONS, Batches, FilterImportance, to_groups


@dataclass(frozen=True)
class Reduced:
    """A method's scores of filters, reduced over each group in another way than by their mean.

    Args:
        method: judges filter by filter (ipad, l1, l2, lamp, fpgm, and any `FilterImportance`).
        by: mean, sum, max, or first (the filter that the network gives out first).
    """

    method: FilterImportance
    by: str = "mean"

    def __post_init__(self) -> None:
        if self.by != "first" and self.by not in REDUCTIONS:
            raise LabError(f"importance.by={self.by} is not known; use mean, sum, max or first")
        if not isinstance(self.method, FilterImportance):
            name = type(self.method).__name__
            raise LabError(f"importance Reduced needs a method that scores filters (ipad, l1, lamp, ...), not {name}")

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        return to_groups(graph, self.method.by_filter(model, graph, batches), self.by)
