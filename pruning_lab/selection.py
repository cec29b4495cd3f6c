"""Which groups leave in this step. Knows scores, floors and resources; not where the scores come from.

Groups leave in the order of their rank, lowest first, as long as no floor forbids it, until the step's amount is
reached or the budget is met. Where widths are rounded, more are picked until what is not given back is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning_lab.errors import LabError
from pruning_lab.floors import LayerFloors
from pruning_lab.graph import ChannelGraph
from pruning_lab.picks import Picks
from pruning_lab.resources import Resources, memory_savings, savings
from pruning_lab.rounding import Rounding, check_multiple
from pruning_lab.stopping import COUNTED, RESOURCES, Fractions, StopRule

PREFERRED = ("flops", "weights", "memory")
"""What a group is known to save, and the ranking may prefer."""

STANDS_FOR = {"bytes": "weights", "latency": "flops"}
"""An unmet resource that no saving is known of -> the one whose savings steer the selection instead."""


@dataclass(frozen=True)
class Progress:
    """How far a step has come: fractions of the original left at its start and now, groups at its start and removed.

    Latency can't be told without a cut: as long as the step goes on, it is what it was at the start.
    """

    before: Fractions
    now: Fractions
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
    """A fraction of one of the original's resources. If that one's budget is already met, of an unmet one's."""

    def __init__(self, resource: str, share: float) -> None:
        if resource not in COUNTED:
            raise LabError(f"selection.amount.resource={resource} must be one of {', '.join(COUNTED)}")
        self.resource, self.share = resource, _share(share)

    def __call__(self, progress: Progress, unmet: frozenset[str]) -> bool:
        counted = self._counted(unmet)
        return progress.before[counted] - progress.now[counted] >= self.share

    def _counted(self, unmet: frozenset[str]) -> str:
        others = unmet.intersection(COUNTED)
        return self.resource if self.resource in unmet or not others else min(others)


class ShareOfRemaining(ShareOf):
    """A fraction of what the step finds left of a resource, so that steps grow smaller as the network does."""

    def __call__(self, progress: Progress, unmet: frozenset[str]) -> bool:
        counted = self._counted(unmet)
        return progress.now[counted] <= (1 - self.share) * progress.before[counted]


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
        given_back: groups that were picked, and stay because of rounding.
    """

    groups: Tensor
    preference: Mapping[str, float]
    bound: tuple[str, ...]
    given_back: int = 0


class Selection:
    """Lowest rank leaves first. Ranked per saving, a group that would save nothing does not leave.

    Args:
        amount: when a step has removed enough: `Groups`, `ShareOfGroups`, `ShareOf`, `ShareOfRemaining`, or a callable
            like them.
        prefer: how much each resource matters, `{flops: a, weights: b, memory: c}`.
        per_saving: rank by score over the preferred saving, instead of by score alone. While only some of several
            budgets are unmet, ranks are always per saving of those: for latency, which nobody can tell without
            running, of FLOPs.
        round_to: every layer keeps a multiple of so many filters, or as many as it had in the original.
    """

    def __init__(
        self,
        amount: Amount,
        prefer: Mapping[str, float] | None = None,
        per_saving: bool = False,
        round_to: int = 1,
    ) -> None:
        self.amount = amount
        self.prefer = {"flops": 1.0, "weights": 0.0, **(prefer or {})}
        self.per_saving = per_saving
        self.round_to = check_multiple(round_to)
        unknown = set(self.prefer) - set(PREFERRED)
        if unknown:
            raise LabError(f"selection.prefer.{min(unknown)} is not known; use {', '.join(PREFERRED)}")
        if min(self.prefer.values()) < 0 or sum(self.prefer.values()) <= 0:
            raise LabError("selection.prefer needs weights that are not negative, and one that is positive")

    def __call__(
        self,
        scores: Tensor,
        graph: ChannelGraph,
        floors: LayerFloors,
        stop: StopRule,
        original: Resources,
        measured: Fractions | None = None,
    ) -> Choice:
        """Choose groups.

        Args:
            scores: float [n_groups], higher is worth more; a group of infinite score stays.
            original: resources of the base.
            measured: fractions of what only a run can tell, of the model as it is.
        """
        picks = Picks(graph, original, measured or {})
        start, unmet = picks.now, stop(picks.now)
        preference, steered = self._preference(unmet, stop)
        wanted = {name: much for name, much in preference.items() if much > 0} if self.per_saving or steered else {}
        ranks = _ranks(scores, graph, wanted, original)
        order = ranks.argsort(stable=True)
        if self.round_to > 1:
            picks.rounding = Rounding(graph, self.round_to, order)
        bound: dict[str, None] = {}
        for group in order[(graph.prunable & (ranks < torch.inf))[order]].tolist():
            if not stop(picks.now) or self.amount(Progress(start, picks.now, len(graph), picks.count), unmet):
                break
            if [*wanted] == ["memory"] and not picks.takes_room(group):
                continue
            layer = floors.binding(picks.ledger, group)
            if layer is None:
                picks.add(group)
            else:
                bound[layer] = None
        groups = picks.leaving()
        return Choice(groups, preference, tuple(bound), int(picks.chosen.sum() - groups.sum()))

    def _preference(self, unmet: frozenset[str], stop: StopRule) -> tuple[Mapping[str, float], bool]:
        """How much each resource matters in this step, and whether unmet budgets decided that."""
        if not unmet or stop(dict.fromkeys(RESOURCES, 1.0)) == unmet:
            return self.prefer, False
        wanted = {STANDS_FOR.get(resource, resource) for resource in unmet}
        return {**dict.fromkeys(self.prefer, 0.0), **dict.fromkeys(sorted(wanted), 1.0)}, True


def _ranks(scores: Tensor, graph: ChannelGraph, preference: Mapping[str, float], original: Resources) -> Tensor:
    """Scores, or scores over the preferred saving where any is preferred, float64 [n_groups].

    A group that saves nothing of what is preferred ranks infinitely high: it would be lost for nothing.
    """
    if not preference:
        return scores.double()
    saving = torch.zeros(len(graph), dtype=torch.float64)
    for name, matters in preference.items():
        saved = memory_savings(graph) if name == "memory" else getattr(savings(graph), name)
        saving += matters * saved / (getattr(original, name) or 1)
    return torch.where(saving > 0, scores.double() / saving, torch.inf)
