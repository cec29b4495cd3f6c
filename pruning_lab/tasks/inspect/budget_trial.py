"""What a budget would take of a model, tried on a copy: no data, no training, no recovery.

Knows selection, stop rules and surgery; must not know how the facts are shown.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from torch import Tensor, nn

from pruning_lab.common.copies import copy_of
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.importance import Importance, Uniform, score
from pruning_lab.resources.counting import measure
from pruning_lab.resources.fractions import Fractions
from pruning_lab.resources.latency import measure_in_turns
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.resources.table import MILLISECONDS, RESOURCES, column
from pruning_lab.selection.floors import LayerFloors
from pruning_lab.selection.selection import Selection
from pruning_lab.selection.stopping import StopRule


@dataclass(frozen=True)
class BudgetFacts:
    """What a stop rule takes.

    Attributes:
        scores: the importance method that ranked the groups.
        fell_back: whether it stands in for a method that needs images.
        left: resource -> the fraction of the original's at the end; latency only where the stop rule asks for it.
        unmet: resources still above their budget at the end; empty if the budget is met.
        bound: layers whose floors stopped the trial, if it was not met.
        widths: layer -> filters at the end.
    """

    scores: str
    fell_back: bool
    steps: int
    groups_removed: int
    macs: int
    weights: int
    left: Mapping[str, float]
    unmet: tuple[str, ...]
    bound: tuple[str, ...]
    widths: Mapping[str, int]


def try_budget(
    model: nn.Module,
    graph: ChannelGraph,
    image: Tensor,
    floors: LayerFloors,
    selection: Selection,
    stop: StopRule,
    importance: Importance,
    latency: LatencyModel | None = None,
) -> BudgetFacts:
    """Prune a copy until the budget is met or floors forbid more.

    Args:
        image: float32 [1, C, H, W]; latency is measured on it, if the stop rule asks for latency.
        importance: ranks the groups; uniform shares of all layers stand in if it needs images.
        latency: predicts it; without it latency is measured.
    """
    whole, pruned, graph = graph, copy_of(model), copy.copy(graph)
    original = measure(whole)
    chosen, bound, steps = importance, tuple[str, ...](), 0

    def clock() -> dict[str, float]:
        return _latency_left(model, pruned, image) if latency is None else _latency_predicted(latency, graph)

    costs = Fractions(original, original, clock)
    while unmet := stop(costs):
        importance, scores = _scores(importance, pruned, graph)
        choice = selection(scores, graph, floors, stop, original, measured=costs, latency=latency)
        if not bool(choice.groups.any()):
            bound = choice.bound
            break
        cut(pruned, graph, choice.groups)
        costs = Fractions(measure(graph), original, clock)
        steps += 1
    return BudgetFacts(
        scores=type(importance).__name__,
        fell_back=importance is not chosen,
        steps=steps,
        groups_removed=len(whole) - len(graph),
        macs=costs.now.macs,
        weights=costs.now.weights,
        left=_known(costs),
        unmet=tuple(sorted(unmet)),
        bound=bound,
        widths=graph.widths,
    )


def _scores(importance: Importance, model: nn.Module, graph: ChannelGraph) -> tuple[Importance, Tensor]:
    """A method's scores, float [n_groups], or those of uniform shares; and the method that gave them."""
    try:
        return importance, score(importance, model, graph, _NoImages())
    except _ImagesNeededError:
        importance = Uniform()
        return importance, score(importance, model, graph, ())


def _known(costs: Fractions) -> dict[str, float]:
    """The fractions that are known without measuring anything more."""
    row = costs.row
    return {name: row[column(name)] for name in RESOURCES if column(name) in row}


def _latency_left(model: nn.Module, pruned: nn.Module, image: Tensor) -> dict[str, float]:
    whole, left = measure_in_turns([model, pruned], image)
    return {column("latency"): left.median_s / whole.median_s}


def _latency_predicted(latency: LatencyModel, graph: ChannelGraph) -> dict[str, float]:
    seconds = latency.seconds(graph)
    return {column("latency"): seconds / latency.whole, column(MILLISECONDS): 1000 * seconds}


class _ImagesNeededError(Exception):
    """An importance method looked at images."""


class _NoImages:
    """Stands for the batches that a trial has not."""

    def __iter__(self) -> NoReturn:
        raise _ImagesNeededError

    def __len__(self) -> NoReturn:
        raise _ImagesNeededError
