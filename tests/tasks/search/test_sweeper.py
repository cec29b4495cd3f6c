"""A search is a total of trials, whatever happens to its processes."""

import csv
import json
import os
import subprocess
import sys

import pytest

from pruning_lab.common.marks import FAILED
from tests.tasks.test_assembly import SMALL
from tests.tasks.typed_sweep import LINE, Sweep

SEARCH = ("hydra/sweeper=optuna", "seed=range(1,9)", "stop.flops=interval(0.1,0.9)")
BOTH = ("returns=[best/val_iou,best/flops_fraction]", "hydra.sweeper.directions=[maximize,minimize]")


def trials(sweep: Sweep, name: str = "trials") -> list[dict[str, str]]:
    path = sweep.root / "sweeps" / "s" / "search-s" / f"{name}.csv"
    return list(csv.DictReader(path.read_text().splitlines()))


def times_worked(sweep: Sweep) -> list[int]:
    return [len(path.read_text().splitlines()) for path in sorted(sweep.root.glob("sweeps/s/*/worked"))]


@pytest.mark.slow
def test_twelve_trials_killed_at_the_seventh_are_twelve_after_the_same_line(sweep: Sweep) -> None:
    sweep.trouble("#7 kill")
    line = [sys.executable, "-m", "pruning_lab", *LINE, f"output_root={sweep.root}", *SEARCH]
    more = [*BOTH, "hydra.sweeper.n_trials=12"]
    killed = subprocess.run([*line, *more], env=os.environ, capture_output=True, timeout=300)
    assert killed.returncode == -9
    assert len(times_worked(sweep)) == 7
    before = trials(sweep)
    sweep.trouble()
    assert sweep(*SEARCH, *more) == 0
    assert "study s: 6 of 12 trials ended, 5 to draw" in sweep.out
    assert "1 jobs: 1 to go on with" in sweep.out
    told = trials(sweep)
    assert [row["trial"] for row in told] == [str(number) for number in range(12)]
    assert {row["state"] for row in told} == {"done"}
    assert told[:6] == [{**row, "on_front": told[int(row["trial"])]["on_front"]} for row in before]
    assert sorted(times_worked(sweep)) == [1] * 11 + [2]
    assert_is_front(told)
    assert sweep(*SEARCH, *more) == 0
    assert "12 of 12 trials ended, 0 to draw" in sweep.out
    assert sum(times_worked(sweep)) == 13


def assert_is_front(told: list[dict[str, str]]) -> None:
    points = [(float(row["best/val_iou"]), float(row["best/flops_fraction"])) for row in told]
    on_front = {points[i] for i, row in enumerate(told) if row["on_front"]}
    beaten = {p for p in points if any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in points)}
    assert on_front == set(points) - beaten
    assert len(on_front) >= 2


@pytest.mark.slow
def test_a_failed_trial_is_tried_again_under_its_number_and_stops_no_other(sweep: Sweep) -> None:
    sweep.trouble("#2 mistake")
    line = [*SEARCH, "hydra.sweeper.n_trials=3", "hydra.sweeper.max_batch_size=2"]
    assert sweep(*line) == 1
    assert "1 of 3 trials failed" in sweep.err
    first = trials(sweep)
    assert [row["state"] for row in first] == ["done", "failed", "done"]
    assert first[1]["reason"] == "seed is unlucky; take another"
    sweep.trouble()
    assert sweep(*line) == 0
    second = trials(sweep)
    assert [row["state"] for row in second] == ["done"] * 3
    assert [row["folder"] for row in second] == [row["folder"] for row in first]


@pytest.mark.slow
def test_trials_of_equal_settings_work_once(sweep: Sweep) -> None:
    line = ["hydra/sweeper=optuna", "seed=4,5", "hydra.sweeper.n_trials=5", "hydra.sweeper.max_batch_size=3"]
    assert sweep(*line) == 0
    assert {row["state"] for row in trials(sweep)} == {"done"}
    assert times_worked(sweep) in ([1, 1], [1])
    assert len(trials(sweep, "front")) == 1


@pytest.mark.slow
def test_a_choice_that_there_is_not_is_a_failed_trial(sweep: Sweep) -> None:
    assert sweep("hydra/sweeper=optuna", "importance=l1,oops", "hydra.sweeper.n_trials=4") == 1
    states = {row["importance"]: row["state"] for row in trials(sweep)}
    assert states == {"l1": "done", "oops": "failed"}
    folder = next(row["folder"] for row in trials(sweep) if row["importance"] == "oops")
    assert "oops" in json.loads((sweep.root / "sweeps" / "s" / folder / FAILED).read_text())["reason"]


@pytest.mark.slow
def test_a_preset_gives_way_to_the_command_line(sweep: Sweep) -> None:
    assert sweep("+hparams_search=importance", "importance=l1", "hydra.sweeper.n_trials=2") == 0
    path = sweep.root / "sweeps" / "s" / "search-importance" / "trials.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 2
    assert "importance" not in rows[0]
    assert 0.05 <= float(rows[0]["selection.amount.share"]) <= 0.3


def test_another_space_is_one_line(sweep: Sweep) -> None:
    assert sweep("hydra/sweeper=optuna", "seed=1,2", "hydra.sweeper.n_trials=0") == 0
    assert sweep("hydra/sweeper=optuna", "seed=1,2,3", "hydra.sweeper.n_trials=0") == 1
    assert sweep.err.startswith("error: the study s was begun as another search (seed)")
    assert sweep.err.count("\n") == 1


def test_a_search_for_nothing_is_one_line(sweep: Sweep) -> None:
    assert sweep("hydra/sweeper=optuna", "seed=1") == 1
    assert sweep.err.startswith("error: nothing is searched")


@pytest.mark.slow
def test_a_hopeless_run_ends_after_its_step_and_its_trial_has_the_reason(sweep: Sweep) -> None:
    pruner = "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,lower:2.0}"
    task = "task._target_=pruning_lab.tasks.prune.prune"
    small = [each for each in SMALL if not each.startswith("tracking")]
    line = [*small, "name=s", task, "hydra/sweeper=optuna", "importance.omega=0.2,0.4", "hydra.sweeper.n_trials=1"]
    assert sweep(*line, pruner) == 0
    (row,) = trials(sweep)
    assert row["state"] == "given up"
    assert row["reason"].startswith("after step 1 by the pruner: val/iou is")
    assert row["best/val_iou"] == ""
    history = sweep.root / "sweeps" / "s" / row["folder"] / "history.csv"
    assert len(history.read_text().splitlines()) == 3
    assert sweep(*line, pruner) == 0
    assert "1 of 1 trials ended, 0 to draw" in sweep.out
