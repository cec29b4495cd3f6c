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
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.resources.table import MEASURED, NOTHING_LEFT_OUT, RANKED, TABLE
from pruning_lab.selection.amounts import Amount, Progress
from pruning_lab.selection.blocks import Block, latency_blocks
from pruning_lab.selection.cut_plan import CutPlan
from pruning_lab.selection.floors import LayerFloors
from pruning_lab.selection.layer_shares import shares_of_layers
from pruning_lab.selection.rounding import AUTO, Rounding, check_multiple
from pruning_lab.selection.stopping import StopRule
from pruning_lab.selection.trimming import trimmed


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

    Where latency is preferred, groups leave in blocks that reach the next width at which a layer is faster (`blocks`).

    Args:
        amount: when a step has removed enough: `Groups`, `ShareOfGroups`, `ShareOf`, `ShareOfRemaining`, or a callable
            like them.
        prefer: how much each resource matters, `{flops: a, weights: b, memory: c, latency: d}`. With d above 0 ranks
            are per saving in any case.
        per_saving: rank by score over the preferred saving, instead of by score alone. While only some of several
            budgets are unmet, ranks are always per saving of those: for latency, where no model of it is given, of
            FLOPs.
        share_of_layer: where ranks are per saving, a group's score counts as its share of all scores of its layer.
        round_to: every layer keeps a multiple of so many filters, or as many as it had in the original; `auto`: of
            as many as the model of latency says, 1 without one; None: of 1.
    """

    def __init__(
        self,
        amount: Amount,
        prefer: Mapping[str, float] | None = None,
        per_saving: bool = False,
        round_to: int | str | None = None,
        share_of_layer: bool = True,
    ) -> None:
        self.amount = amount
        self.prefer = {"flops": 1.0, "weights": 0.0, **(prefer or {})}
        self.per_saving = per_saving
        self.share_of_layer = share_of_layer
        self.round_to = check_multiple(round_to)
        unknown = set(self.prefer) - {*RANKED, *MEASURED}
        if unknown:
            raise LabError(f"selection.prefer.{min(unknown)} is not known; use {', '.join((*RANKED, *MEASURED))}")
        if min(self.prefer.values()) < 0 or sum(self.prefer.values()) <= 0:
            raise LabError("selection.prefer needs weights that are not negative, and one that is positive")

    @property
    def wants_latency(self) -> bool:
        """Whether it chooses by milliseconds."""
        return (
            self.prefer.get("latency", 0) > 0
            or self.round_to == AUTO
            or getattr(self.amount, "resource", "") in MEASURED
        )

    def __call__(
        self,
        scores: Tensor,
        graph: ChannelGraph,
        floors: LayerFloors,
        stop: StopRule,
        original: Resources,
        measured: Mapping[str, float] | None = None,
        latency: LatencyModel | None = None,
        worth: float = 1.0,
    ) -> Choice:
        """Choose groups.

        Args:
            scores: float [n_groups], higher is worth more; a group of infinite score stays.
            original: resources of the base.
            measured: fractions of what only a run can tell, of the model as it is.
            latency: predicts the latency of what is left.
            worth: how much of a predicted saving is a saving.
        """
        plan = CutPlan(graph, original, measured, latency, worth)
        start, unmet = plan.now, stop(plan.now)
        preference, steered = self._preference(unmet, stop, latency is not None)
        by_saving = self.per_saving or steered or preference.get("latency", 0) > 0
        wanted = {name: much for name, much in preference.items() if much > 0} if by_saving else {}
        if by_saving and self.share_of_layer:
            scores = shares_of_layers(scores, graph)
        peaks_alone = bool(wanted) and all(TABLE[name].peak for name in wanted)
        multiple = (1 if latency is None else latency.step) if self.round_to == AUTO else int(self.round_to)
        blocks = _blocks(scores, graph, floors, wanted, original, latency, multiple)
        if multiple > 1:
            plan.rounding = Rounding(graph, multiple, _in_order(blocks, len(graph)))

        def enough(plan: CutPlan) -> bool:
            progress = Progress(start, plan.now, len(graph), plan.count)
            return not stop(plan.now) or self.amount(progress, unmet)

        bound: dict[str, None] = {}
        taken = list[Block]()
        for block in blocks:
            if enough(plan):
                break
            taken.append(block)
            for group in block.groups:
                if peaks_alone and not plan.takes_room(group):
                    continue
                removal = plan.totals.without(group)
                layer = floors.binding(removal)
                if layer is None:
                    plan.add(removal)
                else:
                    bound[layer] = None
        if enough(plan):
            plan = trimmed(plan, taken, enough)
        groups = plan.leaving()
        return Choice(groups, preference, tuple(bound), int(plan.chosen.sum() - groups.sum()))

    def _preference(self, unmet: frozenset[str], stop: StopRule, timed: bool) -> tuple[Mapping[str, float], bool]:
        """How much each resource matters in this step, and whether unmet budgets decided that.

        Args:
            timed: there is a model of latency.
        """
        if not unmet or stop(NOTHING_LEFT_OUT) == unmet:
            return self.prefer, False
        wanted = {resource if timed and resource in MEASURED else TABLE[resource].ranked_by for resource in unmet}
        return {**dict.fromkeys(self.prefer, 0.0), **dict.fromkeys(sorted(wanted), 1.0)}, True


def _blocks(
    scores: Tensor,
    graph: ChannelGraph,
    floors: LayerFloors,
    wanted: Mapping[str, float],
    original: Resources,
    latency: LatencyModel | None,
    multiple: int,
) -> list[Block]:
    """Groups that may leave, those first that leave first: in blocks where latency is wanted, else each alone.

    Where no block saves time, as all layers are in the middle of a step, they leave one by one as if it were FLOPs.
    """
    if latency is not None and wanted.get("latency", 0) > 0:
        others = {name: much for name, much in wanted.items() if name not in MEASURED}
        besides = _savings(graph, others, original).numpy() if others else None
        found = latency_blocks(scores, graph, floors, latency, wanted["latency"], besides, multiple)
        if found:
            return found
    named = {name if name in RANKED else TABLE[name].ranked_by: much for name, much in wanted.items()}
    ranks = _ranks(scores, graph, named, original)
    order = ranks.argsort(stable=True)
    free = order[(graph.prunable & (ranks < torch.inf))[order]].tolist()
    return [Block([group], number, (1,)) for number, group in enumerate(free)]


def _in_order(blocks: list[Block], count: int) -> Tensor:
    """All group ids, those of the blocks first."""
    chosen = dict.fromkeys(group for block in blocks for group in block.groups)
    return torch.tensor([*chosen, *(group for group in range(count) if group not in chosen)])


def _ranks(scores: Tensor, graph: ChannelGraph, preference: Mapping[str, float], original: Resources) -> Tensor:
    """Scores, or scores over the preferred saving where any is preferred, float64 [n_groups].

    A group that saves nothing of what is preferred ranks infinitely high: it would be lost for nothing.
    """
    if not preference:
        return scores.double()
    saving = _savings(graph, preference, original)
    return torch.where(saving > 0, scores.double() / saving, torch.inf)


def _savings(graph: ChannelGraph, preference: Mapping[str, float], original: Resources) -> Tensor:
    """The preferred fraction of the original that each group alone would save, float64 [n_groups]."""
    saving = torch.zeros(len(graph), dtype=torch.float64)
    for name, matters in preference.items():
        saving += matters * savings_of(graph, name) / (original.counted(name) or 1)
    return saving
