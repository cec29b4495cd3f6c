"""Runs by milliseconds, on a machine whose times are known: the mechanism, without a clock."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruning_lab import lab
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.lab import loop, timing
from pruning_lab.lab.output.history import History
from pruning_lab.lab.promise import BestWithinBudget
from pruning_lab.lab.timing import asks_for_latency
from pruning_lab.lab.validation import Validation
from pruning_lab.models import UNet
from pruning_lab.resources.latency import Target
from pruning_lab.resources.latency.clock import Clock, Reading
from pruning_lab.resources.latency.profiles import eager_profile
from pruning_lab.selection import All, AnyOf, Groups, Selection, ShareOf
from tests.networks.labs import CLASSES, Recorder, tiny_lab
from tests.networks.timed import layer_time, predictor

STEP = 2
BY_LATENCY = Selection(ShareOf("latency", 0.1), {"flops": 0.0, "latency": 1.0})


class SlowerThanPredicted:
    """Times every layer of a network on the known machine, and finds a tenth more than the model of latency says."""

    def __init__(self, target: Target) -> None:
        self.clock = Clock(target)

    def in_turns(self, works: list[Any], rounds: int) -> list[Reading]:
        profiles = [eager_profile(work, self.clock) for work in works]
        times = [sum(layer_time(one.reads, one.gives, STEP) for one in each.layers) for each in profiles]
        return [Reading(times[0], 0.0, 3), Reading(1.1 * times[1], 0.01, 3)]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Target]:
    """The targets that a model of latency was made for."""
    targets = []

    def model_for(model: Any, graph: ChannelGraph, target: Target, channels: int, *args: Any, **kwargs: Any) -> Any:
        targets.append(target)
        return predictor(model, graph, target.example(channels), STEP)

    monkeypatch.setattr(timing, "latency_model", model_for)
    monkeypatch.setattr(timing, "Clock", SlowerThanPredicted)
    return targets


def history_of(root: Path) -> History:
    return History.read(root / "run" / "history.csv")


def by_latency(root: Path, **changes: Any) -> Any:
    changes = {"stop": All(latency=0.6), "target": Target(threads=1), "selection": BY_LATENCY} | changes
    return tiny_lab(root, validation=Validation(BestWithinBudget(latency=0.6), keep=3), **changes)


def test_a_run_ends_when_the_measured_latency_is_within_its_budget(tmp_path: Path, made: list[Target]) -> None:
    tracker = Recorder()
    summary = lab.prune(by_latency(tmp_path, tracker=tracker))
    rows = history_of(tmp_path).rows
    fractions = [row["resources/latency_fraction"] for row in rows]
    assert fractions[-1] <= 0.6 < fractions[-3]
    assert summary["budget_met"] == 1.0
    assert summary["best/latency_fraction"] <= 0.6
    assert len(made) == 1
    assert made[0].size == (16, 16)


def test_every_step_has_what_was_predicted_and_by_how_much_that_missed(tmp_path: Path, made: list[Target]) -> None:
    lab.prune(by_latency(tmp_path))
    for row in history_of(tmp_path).rows:
        assert row["latency/predicted_ms"] == pytest.approx(row["latency/ms"] / 1.1, rel=0.05)
        assert row["latency/prediction_error"] == pytest.approx(1 / 1.1 - 1, abs=0.05)
        assert row["resources/latency_fraction"] == pytest.approx(row["latency/ms"] / row["latency/base_ms"])


class SavingsAreWorthMore(SlowerThanPredicted):
    """A machine on which a saving is worth a third more than the model of latency says."""

    def in_turns(self, works: list[Any], rounds: int) -> list[Reading]:
        base, pruned = super().in_turns(works, rounds)
        share = pruned.time / 1.1 / base.time
        return [base, Reading(base.time * (1 - 4 / 3 * (1 - share)), 0.01, 3)]


@pytest.mark.slow
def test_what_savings_are_worth_is_seen_before_anything_is_cut(
    tmp_path: Path, made: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "Clock", SavingsAreWorthMore)
    at_once = Selection(ShareOf("latency", 0.9), {"flops": 0.0, "latency": 1.0})
    lab.prune(by_latency(tmp_path / "aimed", selection=at_once))
    monkeypatch.setattr(loop, "aimed", lambda lab, state, costs, choose: choose(1.0))
    lab.prune(by_latency(tmp_path / "straight", selection=at_once))
    ends = [history_of(tmp_path / name).column("resources/latency_fraction")[-1] for name in ("straight", "aimed")]
    assert ends[0] < ends[1] <= 0.6


def test_a_budget_in_milliseconds_ends_a_run_as_well(tmp_path: Path, made: list[Target]) -> None:
    whole = predictor(*_base(), STEP).whole * 1000
    lab.prune(by_latency(tmp_path, stop=All(latency_ms=0.7 * whole)))
    milliseconds = history_of(tmp_path).column("latency/ms")
    assert milliseconds[-1] <= 0.7 * whole < milliseconds[0]


def test_a_run_that_does_not_ask_makes_no_model(tmp_path: Path, made: list[Target]) -> None:
    lab.prune(tiny_lab(tmp_path, target=Target(), max_steps=1))
    assert made == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "asks", [Selection(Groups(1), round_to="auto"), Selection(ShareOf("latency", 0.1)), BY_LATENCY]
)
def test_a_selection_that_asks_is_timed_at_every_step(tmp_path: Path, made: list[Target], asks: Selection) -> None:
    lab.prune(tiny_lab(tmp_path, target=Target(threads=1), selection=asks, max_steps=1, stop=All(flops=0.1)))
    assert len(made) == 1
    assert all("latency/ms" in row for row in history_of(tmp_path).rows)


def test_what_a_stop_rule_looks_at_is_found_out() -> None:
    assert asks_for_latency(All(flops=0.5, latency=0.5))
    assert asks_for_latency(AnyOf(flops=0.5, latency_ms=3.0))
    assert not asks_for_latency(All(flops=0.5, weights=0.5))


def test_a_runtime_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="needs a CUDA device"):
        lab.prune(by_latency(tmp_path, target=Target("cuda_graphs", device="cpu")))


def _base() -> tuple[torch.nn.Module, ChannelGraph, torch.Tensor]:
    model, image = UNet(3, CLASSES, width=4, depth=2).eval(), torch.zeros(1, 3, 16, 16)
    return model, ChannelGraph.trace(model, image), image


def test_milliseconds_of_a_network_do_not_depend_on_its_weights() -> None:
    first, second = (predictor(*_base(), STEP).whole for _ in range(2))
    assert np.isclose(first, second)
