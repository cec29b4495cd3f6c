"""Which groups leave in this step. Knows scores, floors and resources; not where the scores come from.

Groups leave in the order of their rank, lowest first, as long as no floor forbids it, until the step's amount is
reached or the budget is met. Where widths are rounded, more are chosen until what is not given back is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.counting import Resources, savings_of
from pruning_lab.resources.table import RANKED, RESOURCES, TABLE
from pruning_lab.selection.amounts import Amount, Progress
from pruning_lab.selection.cut_plan import CutPlan
from pruning_lab.selection.floors import LayerFloors
from pruning_lab.selection.rounding import Rounding, check_multiple
from pruning_lab.selection.stopping import StopRule


@dataclass(frozen=True)
class Choice:
    """What a step removes.

    Attributes:
        groups: bool [n_groups].
        preference: how much each resource mattered in the ranking.
        bound: layers whose floors forbade that others left.
        given_back: groups that were chosen at first, and stay because of rounding.
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
            budgets are unmet, ranks are always per saving of those: for latency, which can't be told without running,
            of FLOPs.
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
        unknown = set(self.prefer) - set(RANKED)
        if unknown:
            raise LabError(f"selection.prefer.{min(unknown)} is not known; use {', '.join(RANKED)}")
        if min(self.prefer.values()) < 0 or sum(self.prefer.values()) <= 0:
            raise LabError("selection.prefer needs weights that are not negative, and one that is positive")

    def __call__(
        self,
        scores: Tensor,
        graph: ChannelGraph,
        floors: LayerFloors,
        stop: StopRule,
        original: Resources,
        measured: Mapping[str, float] | None = None,
    ) -> Choice:
        """Choose groups.

        Args:
            scores: float [n_groups], higher is worth more; a group of infinite score stays.
            original: resources of the base.
            measured: fractions of what only a run can tell, of the model as it is.
        """
        plan = CutPlan(graph, original, measured)
        start, unmet = plan.now, stop(plan.now)
        preference, steered = self._preference(unmet, stop)
        wanted = {name: much for name, much in preference.items() if much > 0} if self.per_saving or steered else {}
        peaks_alone = bool(wanted) and all(TABLE[name].peak for name in wanted)
        ranks = _ranks(scores, graph, wanted, original)
        order = ranks.argsort(stable=True)
        if self.round_to > 1:
            plan.rounding = Rounding(graph, self.round_to, order)
        bound: dict[str, None] = {}
        for group in order[(graph.prunable & (ranks < torch.inf))[order]].tolist():
            if not stop(plan.now) or self.amount(Progress(start, plan.now, len(graph), plan.count), unmet):
                break
            if peaks_alone and not plan.takes_room(group):
                continue
            removal = plan.totals.without(group)
            layer = floors.binding(removal)
            if layer is None:
                plan.add(removal)
            else:
                bound[layer] = None
        groups = plan.leaving()
        return Choice(groups, preference, tuple(bound), int(plan.chosen.sum() - groups.sum()))

    def _preference(self, unmet: frozenset[str], stop: StopRule) -> tuple[Mapping[str, float], bool]:
        """How much each resource matters in this step, and whether unmet budgets decided that."""
        if not unmet or stop(dict.fromkeys(RESOURCES, 1.0)) == unmet:
            return self.prefer, False
        wanted = {TABLE[resource].ranked_by for resource in unmet}
        return {**dict.fromkeys(self.prefer, 0.0), **dict.fromkeys(sorted(wanted), 1.0)}, True


def _ranks(scores: Tensor, graph: ChannelGraph, preference: Mapping[str, float], original: Resources) -> Tensor:
    """Scores, or scores over the preferred saving where any is preferred, float64 [n_groups].

    A group that saves nothing of what is preferred ranks infinitely high: it would be lost for nothing.
    """
    if not preference:
        return scores.double()
    saving = torch.zeros(len(graph), dtype=torch.float64)
    for name, matters in preference.items():
        saving += matters * savings_of(graph, name) / (original.counted(name) or 1)
    return torch.where(saving > 0, scores.double() / saving, torch.inf)
