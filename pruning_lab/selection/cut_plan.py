"""What a step has chosen to remove, and what the model would cost without it. Knows resources; no score, no budget."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.counting import Resources, measure, memory_savings
from pruning_lab.resources.fractions import Fractions
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.resources.running_totals import Removal, RunningTotals
from pruning_lab.resources.table import BY_LAYER, MEASURED, MILLISECONDS, column
from pruning_lab.selection.rounding import Rounding


class CutPlan:
    """The groups that a step has chosen, and what is left of the resources without those that will leave.

    Args:
        measured: fractions of what only a run can tell, of the model as it is; each is looked up when it is asked for.
        latency: predicts how much less that becomes; without it, it stays what it was at the start.
        worth: how much of a predicted saving is a saving.

    Attributes:
        chosen: bool [n_groups], all that were chosen.
        totals: resources without them.
        rounding: gives some of them back, None gives none.
        now: fractions of the original without those that will leave.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        original: Resources,
        measured: Mapping[str, float] | None,
        latency: LatencyModel | None = None,
        worth: float = 1.0,
    ) -> None:
        self.totals = RunningTotals(graph)
        self.chosen = torch.zeros(len(graph), dtype=torch.bool)
        self.rounding: Rounding | None = None
        self._leaving = self.chosen.clone()
        self._takes_room: Tensor | None = None
        self._graph, self._original, self._measured = graph, original, measured
        self._latency = None if latency is None else latency.of(graph)
        self._worth = worth
        self.now = self._fractions(self._leaving)

    def add(self, removal: Removal) -> None:
        """Choose a group."""
        self.totals.take(removal)
        self.chosen[removal.group] = True
        if self.rounding is None or self.rounding.choose(removal.group):
            self._leaving, self._takes_room = self.leaving(), None
            self.now = self._fractions(self._leaving)

    def sparing(self, groups: list[int]) -> CutPlan:
        """The plan if these groups stay after all; no more can be added to that one."""
        plan = copy.copy(self)
        plan.chosen = self.chosen.clone()
        plan.chosen[groups] = False
        plan._leaving = plan.leaving()
        plan.now = plan._fractions(plan._leaving, counted=True)
        return plan

    @property
    def count(self) -> int:
        """How many groups will leave."""
        return int(self._leaving.sum())

    def takes_room(self, group: int) -> bool:
        """Whether a group still takes memory where a forward pass has nearly none to spare."""
        if self._takes_room is None:
            self._takes_room = memory_savings(self._graph, self._leaving) > 0
        return bool(self._takes_room[group])

    def leaving(self) -> Tensor:
        """Bool [n_groups]: what was chosen and isn't given back."""
        return self.chosen.clone() if self.rounding is None else self.rounding.given_back(self.chosen)

    def _fractions(self, leaving: Tensor, counted: bool = False) -> Fractions:
        """Fractions without the groups that leave; `counted` anew, and not what was added up."""
        known = {}
        if self.rounding is None and not counted:  # then the totals are those of the groups that will leave
            known = {name: self.totals.totals[name] / max(self._original.counted(name) or 0, 1) for name in BY_LAYER}
        clock = None if self._measured is None else partial(self._clock, leaving)
        return Fractions(lambda: measure(self._graph, leaving), self._original, clock, known)

    def _clock(self, leaving: Tensor) -> dict[str, float]:
        """What was measured at the start of the step, less what the model of latency predicts to be saved by now."""
        measured = self._measured or {}
        left = 1.0
        if self._latency is not None and bool(leaving.any()):
            saved = 1 - self._latency.seconds(leaving) / self._latency.whole
            left = max(0.0, 1 - self._worth * saved)
        return {column(name): measured[name] * left for name in (*MEASURED, MILLISECONDS) if name in measured}
