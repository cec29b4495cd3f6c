"""What a step's model costs: on paper at once, on the clock only when asked; and whole runs that stop by it."""

from pathlib import Path

import pytest
from torch import nn

from pruning_lab.checkpoint import load
from pruning_lab.common.errors import LabError
from pruning_lab.lab import loop as lab
from pruning_lab.lab import weighing
from pruning_lab.lab.output.card import read_cards
from pruning_lab.lab.output.console import QuietReporter
from pruning_lab.lab.output.history import History
from pruning_lab.lab.promise import BestWithinBudget
from pruning_lab.lab.validation import Validation
from pruning_lab.resources.counting import Resources, measure
from pruning_lab.resources.fractions import Fractions
from pruning_lab.resources.latency import Latency, LatencyPlan
from pruning_lab.resources.table import COUNTED
from pruning_lab.selection.amounts import ShareOf
from pruning_lab.selection.selection import Selection
from pruning_lab.selection.stopping import All
from tests.networks.labs import Recorder, tiny_lab
from tests.networks.two_paths import traced


def test_the_clock_is_read_once_and_only_when_latency_is_asked_for() -> None:
    readings = []

    def clock() -> dict[str, float]:
        readings.append(1)
        return {"resources/latency_fraction": 0.5, "latency/batch_1_ms": 3.0}

    _, graph = traced()
    removed = graph.as_mask([int(graph.prunable.nonzero()[0])])
    fractions = Fractions(measure(graph, removed), measure(graph), clock)
    assert 0 < fractions["flops"] < 1
    assert "latency/batch_1_ms" not in fractions.row
    assert readings == []
    assert fractions["latency"] == fractions["latency"] == 0.5
    assert readings == [1]
    assert fractions.row["latency/batch_1_ms"] == 3.0


def test_the_row_holds_counts_and_fractions_of_all_that_is_known_on_paper() -> None:
    _, graph = traced()
    now = measure(graph)
    row = Fractions(now, now, dict).row
    assert row["resources/macs"] == now.macs
    for name in ("flops", "weights", "bytes", "memory"):
        assert row[f"resources/{name}"] == getattr(now, name) > 0
        assert row[f"resources/{name}_fraction"] == 1.0


def test_a_plan_is_counted_once_and_only_when_it_has_to_be() -> None:
    _, graph = traced()
    counted = []

    def count() -> Resources:
        counted.append(1)
        return measure(graph)

    fractions = Fractions(count, measure(graph), known={"flops": 0.5})
    assert fractions["flops"] == 0.5
    assert counted == []
    assert fractions["bytes"] == fractions["weights"] == 1.0
    assert fractions["flops"] == 0.5
    assert counted == [1]
    assert dict(fractions) == {"flops": 0.5, "weights": 1.0, "bytes": 1.0, "memory": 1.0}
    assert len(fractions) == 4


def test_without_a_clock_latency_can_not_be_told() -> None:
    _, graph = traced()
    fractions = Fractions(measure(graph), measure(graph))
    assert "latency" not in fractions
    assert set(fractions) == set(COUNTED)


@pytest.fixture
def slow_by_weights(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Time follows the number of weights; the batch sizes that were timed."""
    timed: list[int] = []

    def in_turns(models, example, warmup, repeats, forward):
        timed.append(len(example))
        sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
        forward(models[1], example)
        return [Latency(size * 1e-6, size * 0.9e-6, size * 1.1e-6, "cpu", len(example)) for size in sizes]

    monkeypatch.setattr(weighing, "measure_in_turns", in_turns)
    return timed


def history_of(root: Path) -> History:
    return History.read(root / "run" / "history.csv")


def test_a_run_stops_at_its_latency_budget(tmp_path: Path, slow_by_weights: list[int]) -> None:
    validation = Validation(BestWithinBudget(latency=0.6), keep=3)
    summary = lab.prune(tiny_lab(tmp_path, stop=All(latency=0.6), validation=validation))
    fractions = history_of(tmp_path).column("resources/latency_fraction")
    assert fractions[0] == 1.0
    assert fractions[-1] <= 0.6 < fractions[-3]
    assert summary["budget_met"] == 1.0
    assert summary["best/latency_fraction"] <= 0.6
    assert read_cards(tmp_path / "run").budget_met


@pytest.mark.slow
def test_what_did_not_change_is_not_timed_again(tmp_path: Path, slow_by_weights: list[int]) -> None:
    lab.prune(tiny_lab(tmp_path, stop=All(latency=0.6)))
    rows = history_of(tmp_path).rows
    assert len(slow_by_weights) == len(rows) - 1
    assert rows[-1]["resources/latency_fraction"] == rows[-2]["resources/latency_fraction"]
    assert "cost/latency_seconds" in rows[-2]
    assert "cost/latency_seconds" not in rows[-1]


@pytest.mark.slow
def test_latency_is_logged_every_so_many_steps_for_every_batch_size(tmp_path: Path, slow_by_weights: list[int]) -> None:
    tracker, plan = Recorder(), LatencyPlan(every=2, batches=(1, 4))
    lab.prune(tiny_lab(tmp_path, latency=plan, tracker=tracker, max_steps=3, stop=All(flops=0.01)))
    timed = [step for step, metrics in tracker.steps if "resources/latency_fraction" in metrics]
    assert timed == [0, 2, 4]
    assert slow_by_weights == [1, 4] * 3
    names = {f"latency/batch_{batch}_{part}ms" for batch in (1, 4) for part in ("", "low_", "high_", "base_")}
    assert names <= set(tracker.steps[0][1])


def test_a_run_that_does_not_ask_pays_for_no_clock(tmp_path: Path, slow_by_weights: list[int]) -> None:
    lab.prune(tiny_lab(tmp_path, max_steps=1))
    assert slow_by_weights == []


def test_latency_is_really_measured_against_the_base(tmp_path: Path) -> None:
    experiment = tiny_lab(tmp_path, latency=LatencyPlan(every=1, warmup=1, repeats=3), max_steps=1)
    lab.prune(experiment)
    for row in history_of(tmp_path):
        low, middle, high = (row[f"latency/batch_1_{part}ms"] for part in ("low_", "", "high_"))
        assert 0 < low <= middle <= high
        assert row["resources/latency_fraction"] == pytest.approx(middle / row["latency/batch_1_base_ms"])


def test_a_run_stops_at_its_memory_budget(tmp_path: Path) -> None:
    prefer = {"flops": 0, "memory": 1}
    selection = Selection(ShareOf("memory", 0.2), prefer, per_saving=True)
    validation = Validation(BestWithinBudget(memory=0.5), keep=3)
    summary = lab.prune(tiny_lab(tmp_path, stop=All(memory=0.5), selection=selection, validation=validation))
    fractions = history_of(tmp_path).column("resources/memory_fraction")
    assert fractions[-1] <= 0.5 < fractions[-3]
    assert summary["best/memory_fraction"] <= 0.5


def test_rounded_widths_hold_through_a_run(tmp_path: Path) -> None:
    lab.prune(tiny_lab(tmp_path, selection=Selection(ShareOf("flops", 0.2), round_to=2)))
    model, original = load(tmp_path / "run" / "model"), tiny_lab(tmp_path).model.build()
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.out_channels % 2 == 0 or layer.out_channels == original.get_submodule(name).out_channels
    assert history_of(tmp_path)[-1]["resources/flops_fraction"] <= 0.5


def test_a_budget_that_rounding_forbids_is_told(tmp_path: Path) -> None:
    reporter = QuietReporter()
    lab.prune(tiny_lab(tmp_path, selection=Selection(ShareOf("flops", 0.2), round_to=64), reporter=reporter))
    assert any("selection.round_to" in warning for warning in reporter.warnings)


def test_a_memory_budget_needs_a_model_whose_memory_is_known() -> None:
    _, graph = traced()
    graph.memory = None
    now = measure(graph)
    with pytest.raises(LabError, match="memory of this model"):
        All(memory=0.5)(Fractions(now, now, dict))
