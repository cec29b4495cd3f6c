"""Which groups leave in this step. Knows scores, floors and resources; not where the scores come from.

Groups leave in the order of their rank, lowest first, as long as no floor forbids it, until the step's amount is
reached or the budget is met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning_lab.errors import LabError
from pruning_lab.floors import LayerFloors
from pruning_lab.graph import ChannelGraph
from pruning_lab.ledger import Ledger
from pruning_lab.resources import Resources, savings
from pruning_lab.stopping import StopRule


@dataclass(frozen=True)
class Progress:
    """How far a step has come: fractions of the original left at its start and now, groups at its start and removed."""

    before: Mapping[str, float]
    now: Mapping[str, float]
    groups: int
    removed: int


Amount = Callable[[Progress, frozenset[str]], bool]
"""(progress, unmet resources) -> whether the step has removed enough."""


class Groups:
    """A fixed number of groups per step."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise LabError(f"selection.amount.count={count} must be at least 1")
        self.count = count

    def __call__(self, progress: Progress, unmet: frozenset[str]) -> bool:
        return progress.removed >= self.count


class ShareOfGroups:
    """A fraction of the groups that the model has at the start of the step, at least one."""

    def __init__(self, share: float) -> None:
        self.share = _share(share)

    def __call__(self, progress: Progress, unmet: frozenset[str]) -> bool:
        return progress.removed >= max(1, round(self.share * progress.groups))


class ShareOf:
    """A fraction of the original's FLOPs or weights. If that one's budget is already met, of the unmet one's."""

    def __init__(self, resource: str, share: float) -> None:
        if resource not in ("flops", "weights"):
            raise LabError(f"selection.amount.resource={resource} must be flops or weights")
        self.resource, self.share = resource, _share(share)

    def __call__(self, progress: Progress, unmet: frozenset[str]) -> bool:
        counted = self.resource if self.resource in unmet or not unmet else min(unmet)
        return progress.before[counted] - progress.now[counted] >= self.share


def _share(share: float) -> float:
    if not 0 < share <= 1:
        raise LabError(f"selection.amount.share={share} must lie in (0, 1]; for 2 % write 0.02")
    return float(share)


@dataclass(frozen=True)
class Choice:
    """What a step removes.

    Attributes:
        groups: bool [n_groups].
        preference: how much each resource mattered in the ranking.
        bound: layers whose floors forbade that others left.
    """

    groups: Tensor
    preference: Mapping[str, float]
    bound: tuple[str, ...]


class Selection:
    """Lowest rank leaves first.

    Args:
        amount: when a step has removed enough: `Groups`, `ShareOfGroups`, `ShareOf`, or a callable like them.
        prefer: how much each resource matters, `{flops: a, weights: b}`.
        per_saving: rank by score over the preferred saving, instead of by score alone. While only one of several
            budgets is unmet, ranks are always per saving of that one.
    """

    def __init__(self, amount: Amount, prefer: Mapping[str, float] | None = None, per_saving: bool = False) -> None:
        self.amount = amount
        self.prefer = {"flops": 1.0, "weights": 0.0, **(prefer or {})}
        self.per_saving = per_saving
        unknown = set(self.prefer) - {"flops", "weights"}
        if unknown:
            raise LabError(f"selection.prefer.{min(unknown)} is not known; use flops and weights")
        if min(self.prefer.values()) < 0 or sum(self.prefer.values()) <= 0:
            raise LabError("selection.prefer needs weights that are not negative, and one that is positive")

    def __call__(
        self, scores: Tensor, graph: ChannelGraph, floors: LayerFloors, stop: StopRule, original: Resources
    ) -> Choice:
        """Choose groups.

        Args:
            scores: float [n_groups], higher is worth more; a group of infinite score stays.
            original: resources of the base.
        """
        ledger = Ledger(graph)
        start = _fractions(ledger, original)
        unmet = stop(start)
        steered = bool(unmet) and stop({"flops": 1.0, "weights": 1.0}) != unmet
        preference = {"flops": 0.0, "weights": 0.0, **dict.fromkeys(unmet, 1.0)} if steered else self.prefer
        ranks = self._ranks(scores, graph, preference, original, self.per_saving or steered)
        chosen = torch.zeros(len(graph), dtype=torch.bool)
        bound: dict[str, None] = {}
        for group in _in_order(ranks, graph.prunable):
            progress = Progress(start, _fractions(ledger, original), len(graph), int(chosen.sum()))
            if not stop(progress.now) or self.amount(progress, unmet):
                break
            layer = floors.binding(ledger, group)
            if layer is not None:
                bound[layer] = None
                continue
            ledger.strike(group)
            chosen[group] = True
        return Choice(chosen, preference, tuple(bound))

    @staticmethod
    def _ranks(
        scores: Tensor, graph: ChannelGraph, preference: Mapping[str, float], original: Resources, per_saving: bool
    ) -> Tensor:
        if not per_saving:
            return scores.double()
        saved = savings(graph)
        weighted = preference["flops"] * saved.flops.double() / max(original.flops, 1)
        weighted = weighted + preference["weights"] * saved.weights.double() / max(original.weights, 1)
        return scores.double() / weighted.clamp_min(torch.finfo(torch.float64).tiny)


def _fractions(ledger: Ledger, original: Resources) -> dict[str, float]:
    return {
        "flops": ledger.totals["macs"] / max(original.macs, 1),
        "weights": ledger.totals["weights"] / max(original.weights, 1),
    }


def _in_order(ranks: Tensor, prunable: Tensor) -> Iterator[int]:
    """Groups that may leave, lowest rank first; ties in the order of their ids. One of infinite rank must stay."""
    order = ranks.argsort(stable=True)
    yield from order[(prunable & (ranks < torch.inf))[order]].tolist()
