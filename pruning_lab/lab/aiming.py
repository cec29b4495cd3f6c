"""The choice of a step that comes near a budget of time, tried on the target before anything is cut. Trains nothing.

The model of latency steers, and misses by some percent; what a step takes too much can't be given back once it is cut.
Time does not depend on weights, so the network that a choice would leave is timed at once, and the choice is made anew
with what predicted savings turn out to be worth, until the budget is met and no more than `TOLERANCE` is given away.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor

from pruning_lab.common.copies import light_copy_of
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.state import RunState
from pruning_lab.lab.timing import Timing, asks_for_latency, fractions_on_target, timing_of
from pruning_lab.resources.counting import measure
from pruning_lab.resources.fractions import Fractions
from pruning_lab.resources.table import column
from pruning_lab.selection.selection import Choice
from pruning_lab.surgery import cut

TOLERANCE = 0.03
"""Share of a budget that may be given away."""
NEAR = 0.15
"""A step that is predicted to end so far above a budget, or less, is tried."""
TRIES = 4
"""Choices of a step that are timed."""
FARTHEST = 2.0
"""Predicted savings are taken to be worth no more than so many times themselves, and no less than their share of it.

Where little is missing, noise is as large as what is saved, and the ratio of the two says nothing.
"""

LATENCY = column("latency")


def aimed(lab: Experiment, state: RunState, measured: Fractions, choose: Callable[[float], Choice]) -> Choice:
    """The choice that is within the budget by the least, of those tried; else the one that is nearest above it.

    Args:
        measured: what the network costs now.
        choose: what predicted savings are worth -> choice; 1 takes them as they are.
    """
    choice = choose(1.0)
    timing = timing_of(lab, state)
    if timing is None or not asks_for_latency(lab.pruning.stop) or not bool(choice.groups.any()):
        return choice
    before = measured["latency"]
    if not _meets(lab, state, choice, _scaled(measured, _predicted(timing, state, choice) * (1 - NEAR))):
        return choice
    tried: list[tuple[bool, float, Choice]] = []
    while len(tried) < TRIES and not any(bool((choice.groups == other.groups).all()) for _, _, other in tried):
        times = _timed(lab, state, timing, choice.groups)
        met = _meets(lab, state, choice, times)
        tried.append((met, times[LATENCY], choice))
        if met and not _meets(lab, state, choice, {name: value / (1 - TOLERANCE) for name, value in times.items()}):
            return choice
        saved = before * (1 - _predicted(timing, state, choice))
        if saved <= 0:
            break
        choice = choose(min(max((before - times[LATENCY]) / saved, 1 / FARTHEST), FARTHEST))
        if not bool(choice.groups.any()):
            break
    within = [one for one in tried if one[0]]
    best = max(within, key=lambda one: one[1]) if within else min(tried, key=lambda one: one[1])
    return best[2]


def _predicted(timing: Timing, state: RunState, choice: Choice) -> float:
    """The share of the network's time that a choice is predicted to leave."""
    return timing.model.seconds(state.graph, choice.groups) / timing.model.seconds(state.graph)


def _scaled(measured: Fractions, factor: float) -> dict[str, float]:
    """Columns of what was measured, times a factor."""
    return {name: value * factor for name, value in measured.measured.items()}


def _meets(lab: Experiment, state: RunState, choice: Choice, times: dict[str, float]) -> bool:
    """Whether the run's budgets are met by what a choice leaves, if it takes these times."""
    return not lab.pruning.stop(Fractions(lambda: measure(state.graph, choice.groups), state.original, lambda: times))


def _timed(lab: Experiment, state: RunState, timing: Timing, groups: Tensor) -> dict[str, float]:
    small, graph = light_copy_of(state.model), copy.copy(state.graph)
    cut(small, graph, groups)
    return fractions_on_target(lab, timing, small)
