"""A step that comes near a budget of time is tried on the target before it is cut."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pruning_lab import lab
from pruning_lab.lab import aiming
from pruning_lab.lab.aiming import TOLERANCE, TRIES, aimed
from pruning_lab.resources.fractions import Fractions
from pruning_lab.resources.table import MILLISECONDS, column
from pruning_lab.selection import All
from pruning_lab.selection.selection import Choice
from tests.networks.timed import wide_chain

GROUPS = 48


def aim(monkeypatch: pytest.MonkeyPatch, worth: float, choose: Any, budget: float = 0.5) -> tuple[Choice, list[int]]:
    """Aim with a machine on which each of the groups takes the same time, and predicted savings are worth that."""
    model, graph, _ = wide_chain()
    assert len(graph) >= GROUPS
    timed: list[int] = []

    def on_target(lab: Any, state: Any, known: Any, groups: torch.Tensor) -> dict[str, float]:
        timed.append(int(groups.sum()))
        left = 1 - worth * timed[-1] / GROUPS
        return {column("latency"): left, column(MILLISECONDS): 10 * left}

    def seconds(graph: Any, groups: torch.Tensor | None = None) -> float:
        return 1.0 if groups is None else 1 - float(groups.sum()) / GROUPS

    state = SimpleNamespace(graph=graph, original=lab.loop.measure(graph), model=model)
    experiment = SimpleNamespace(pruning=SimpleNamespace(stop=All(latency=budget)))
    monkeypatch.setattr(aiming, "timing_of", lambda *_: SimpleNamespace(model=SimpleNamespace(seconds=seconds)))
    monkeypatch.setattr(aiming, "_timed", on_target)
    now = Fractions(state.original, state.original, lambda: {column("latency"): 1.0, column(MILLISECONDS): 10.0})

    def chosen(worth: float) -> Choice:
        groups = torch.zeros(len(graph), dtype=torch.bool)
        groups[: choose(worth)] = True
        return Choice(groups, {}, (), 0)

    return aimed(experiment, state, now, chosen), timed  # type: ignore[arg-type]


def down_to(budget: float) -> Any:
    """Chooses as many groups as bring the time down to a budget."""
    return lambda worth: min(GROUPS, -int(-(1 - budget) / worth * GROUPS // 1))


@pytest.mark.parametrize("worth", [0.8, 0.9, 1.1, 1.3, 1.6])
def test_the_second_choice_is_within_the_budget_by_the_least(monkeypatch: pytest.MonkeyPatch, worth: float) -> None:
    choice, timed = aim(monkeypatch, worth, down_to(0.5))
    left = 1 - worth * int(choice.groups.sum()) / GROUPS
    assert 0.5 * (1 - TOLERANCE) - worth / GROUPS < left <= 0.5
    assert len(timed) <= TRIES


def test_a_choice_that_lands_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, timed = aim(monkeypatch, 1.0, down_to(0.5))
    assert timed == [int(choice.groups.sum())] == [24]


def test_a_step_that_ends_far_above_the_budget_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, timed = aim(monkeypatch, 1.0, lambda worth: 6)
    assert (int(choice.groups.sum()), timed) == (6, [])


def test_blocks_that_are_too_large_end_below_the_budget_and_not_above(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, timed = aim(monkeypatch, 1.2, lambda worth: 12 * -int(-down_to(0.5)(worth) // 12))
    assert int(choice.groups.sum()) == 24
    assert len(timed) <= TRIES


def test_savings_that_are_lost_in_noise_do_not_empty_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was tried took as long as before, so it says nothing of what savings are worth."""
    worths: list[float] = []

    def choose(worth: float) -> int:
        worths.append(worth)
        return min(GROUPS, round(2 / worth))

    choice, _ = aim(monkeypatch, 0.0, choose, budget=0.99)
    assert int(choice.groups.sum()) <= 4
    assert worths == [1.0, 0.5, 0.5]


def test_where_no_choice_meets_the_budget_the_nearest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, timed = aim(monkeypatch, 0.9, lambda worth: 24 if worth == 1 else 22)
    assert timed == [24, 22]
    assert int(choice.groups.sum()) == 24
