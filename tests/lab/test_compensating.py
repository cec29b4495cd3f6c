"""A run that repairs its network after each cut: what it keeps of that, and what it leaves alone without."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from pruning_lab.compensation import Before, LeastSquares, Mean, NoCompensation, Norms
from pruning_lab.lab import loop as lab
from pruning_lab.lab.output.history import History
from pruning_lab.training.recovery import BaseTraining, Recovery
from tests.networks.labs import tiny_lab

COLUMNS = {"compensation/error_plain", "compensation/error", "compensation/kept", "compensation/layers"}


def one_step(folder: Path, compensation: object, **more: object) -> lab.RunState:
    experiment = tiny_lab(folder, compensation=compensation, **more)
    state = lab.begin(experiment)
    scores, spent = lab.score(experiment, state)
    lab.finish_step(experiment, state, lab.advance(experiment, state, lab.choose(experiment, state, scores), spent))
    return state


@pytest.mark.parametrize("compensation", [Norms(), Mean(), LeastSquares()], ids=lambda kind: type(kind).__name__)
def test_a_step_tells_the_score_before_and_after_compensation(tmp_path: Path, compensation: object) -> None:
    state = one_step(tmp_path, compensation)
    row = History.read(tmp_path / "run" / "history.csv")[-1]
    assert {"val/iou_before_compensation", "val/loss_before_compensation", "val/iou_before_recovery"} <= set(row)
    assert row["cost/compensation_seconds"] > 0
    if not isinstance(compensation, Norms):
        assert set(row) >= COLUMNS
        assert row["compensation/error"] <= row["compensation/error_plain"] or row["compensation/kept"] == 0
    else:
        assert not COLUMNS & set(row)
    assert state.step == 1


def recovered(folder: Path, compensation: object, share: float) -> dict[str, float]:
    """The row of a step whose recovery has a rate at which Adam undoes what was there."""
    recovery = Recovery(partial(torch.optim.Adam, lr=0.1), epochs=1, repaired_rate=share)
    one_step(folder, compensation, recovery=recovery, base=BaseTraining(partial(torch.optim.Adam, lr=1e-2), epochs=20))
    return History.read(folder / "run" / "history.csv")[-1]


def test_a_gentle_recovery_does_not_lose_what_a_compensation_gave(tmp_path: Path) -> None:
    harsh, gentle = (recovered(tmp_path / str(share), LeastSquares(), share) for share in (1.0, 0.01))
    assert gentle["cost/learning_rate"] == pytest.approx(0.01 * harsh["cost/learning_rate"])
    assert gentle["val/loss_before_recovery"] == harsh["val/loss_before_recovery"]
    assert harsh["val/loss"] > 1.5 * harsh["val/loss_before_recovery"]
    assert gentle["val/loss"] <= 1.02 * gentle["val/loss_before_recovery"]


@pytest.mark.parametrize("compensation", [Norms(), NoCompensation()], ids=lambda kind: type(kind).__name__)
def test_where_nothing_is_repaired_a_recovery_keeps_its_rate(tmp_path: Path, compensation: object) -> None:
    assert recovered(tmp_path, compensation, 0.01)["cost/learning_rate"] == 0.1


def test_without_compensation_a_step_has_no_columns_of_it(tmp_path: Path) -> None:
    one_step(tmp_path, NoCompensation())
    row = History.read(tmp_path / "run" / "history.csv")[-1]
    assert not [name for name in row if "compensation" in name]


def test_the_network_is_held_against_itself_before_the_cut(tmp_path: Path) -> None:
    seen: list[Before] = []

    class Spy(Mean):
        def __call__(self, before, model, graph, batches):
            seen.append(before)
            return super().__call__(before, model, graph, batches)

    state = one_step(tmp_path, Spy())
    assert sum(map(len, seen[0].original.values())) > sum(state.graph.widths.values())
    pair = (model.state_dict().values() for model in (seen[0].model, state.base))
    assert all(torch.equal(a, b) for a, b in zip(*pair, strict=True))
