"""What a run holds between two steps: all of it, and nothing but data and modules."""

import pickle
from pathlib import Path

import torch

from pruning_lab.importance import MovingAverage, Random
from pruning_lab.lab import loop as lab
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.state import RunState
from pruning_lab.lab.step import finish_step
from pruning_lab.resources.latency import LatencyPlan
from tests.networks.labs import tiny_lab


def one_step(experiment: Experiment, state: RunState) -> dict[str, float]:
    """A step as the loop takes it, up to its row."""
    scores, spent = lab.score(experiment, state)
    return lab.advance(experiment, state, lab.choose(experiment, state, scores), spent)


def test_a_step_returns_what_it_measured_and_nothing_is_written_before_it_is_done(tmp_path: Path) -> None:
    experiment = tiny_lab(tmp_path)
    state = lab.begin(experiment)
    row = one_step(experiment, state)
    assert len(state.history) == 1
    assert {"val/iou", "val/iou_before_recovery", "cost/score_seconds", "cost/verify_difference"} <= row.keys()
    assert row["cost/step_seconds"] >= row["cost/score_seconds"] + row["cost/recovery_seconds"]
    written = finish_step(experiment, state, row)
    assert written is state.history[-1]
    assert row.items() <= written.items()
    assert written["resources/flops_fraction"] < 1


def test_a_state_holds_no_closure_at_any_depth(tmp_path: Path) -> None:
    experiment = tiny_lab(tmp_path, latency=LatencyPlan(every=1, warmup=0, repeats=2))
    state = lab.begin(experiment)
    finish_step(experiment, state, one_step(experiment, state))
    assert state.timed.keys() >= {"resources/latency_fraction", "latency/batch_1_ms"}
    again = pickle.loads(pickle.dumps(state))  # fails on functions that have no name of their own
    assert again.history.rows == state.history.rows


def test_a_fork_goes_its_own_way(tmp_path: Path) -> None:
    experiment = tiny_lab(tmp_path, importance=MovingAverage(Random(1)))
    state = lab.begin(experiment)
    fork = state.fork()
    finish_step(experiment, state, one_step(experiment, state))
    assert (fork.step, len(fork.history), len(fork.snapshots)) == (0, 1, 1)
    assert fork.base is state.base
    assert (fork.importance.memory, bool(state.importance.memory)) == ({}, True)
    weights = [sum(map(torch.numel, each.model.parameters())) for each in (fork, state)]
    assert weights[0] > weights[1]
    fork_row = finish_step(experiment, fork, one_step(experiment, fork))
    assert fork_row["val/loss"] == state.history[-1]["val/loss"]


def test_the_budget_of_the_step_is_kept_with_it(tmp_path: Path) -> None:
    experiment = tiny_lab(tmp_path)
    state = lab.begin(experiment)
    assert state.unmet == {"flops"}
    lab.descend(experiment, state)
    assert (state.unmet, state.ended) == (frozenset(), "budget")
    assert state.history[-1]["resources/flops_fraction"] <= 0.5


def test_batches_follow_from_the_runs_own_seed(tmp_path: Path) -> None:
    experiment = tiny_lab(tmp_path, seed=7)
    assert experiment.loaders() is experiment.data.loaders(7)
    assert experiment.loaders() is not experiment.data.loaders(0)
