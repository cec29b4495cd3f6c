"""What a step has picked so far, and what the model would cost without it. Knows resources, not scores nor budgets."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from functools import cache, partial

import torch
from torch import Tensor

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.counting import Resources, measure, memory_savings
from pruning_lab.resources.fractions import Fractions, LazyFractions
from pruning_lab.resources.running_totals import RunningTotals
from pruning_lab.resources.table import COUNTED
from pruning_lab.selection.rounding import Rounding


class CutPlan:
    """The groups that a step has picked, and what is left of the resources without those that will leave.

    Attributes:
        chosen: bool [n_groups], all that were picked.
        totals: resources without them.
        rounding: gives some of them back, None gives none.
        now: fractions of the original without those that will leave.
    """

    def __init__(self, graph: ChannelGraph, original: Resources, measured: Fractions) -> None:
        self.totals = RunningTotals(graph)
        self.chosen = torch.zeros(len(graph), dtype=torch.bool)
        self.rounding: Rounding | None = None
        self._leaving = self.chosen.clone()
        self._takes_room: Tensor | None = None
        self._graph, self._original, self._measured = graph, original, measured
        self.now = self._fractions(self._leaving)

    def add(self, group: int) -> None:
        """Pick a group."""
        self.totals.remove(group)
        self.chosen[group] = True
        if self.rounding is None or self.rounding.pick(group):
            self._leaving, self._takes_room = self.leaving(), None
            self.now = self._fractions(self._leaving)

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
        """Bool [n_groups]: what was picked and isn't given back."""
        return self.chosen.clone() if self.rounding is None else self.rounding.given_back(self.chosen)

    def _fractions(self, leaving: Tensor) -> Fractions:
        @cache
        def on_paper() -> Mapping[str, float]:
            return measure(self._graph, leaving).fractions_of(self._original)

        sources: dict[str, float | Callable[[], float]] = {}
        for name in COUNTED:
            if name != "memory" or self._graph.memory is not None:
                sources[name] = partial(lambda resource: on_paper()[resource], name)
        if self.rounding is None:  # the totals knows these at once
            sources["flops"] = self.totals.totals["macs"] / max(self._original.macs, 1)
            sources["weights"] = self.totals.totals["weights"] / max(self._original.weights, 1)
        return ChainMap(LazyFractions(sources), self._measured)  # type: ignore[arg-type]
