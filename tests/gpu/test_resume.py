"""A run on a GPU that was cut short goes on there, optimizer and random states included."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from pruning_lab.lab import loop as lab
from pruning_lab.lab.output.history import History
from pruning_lab.tasks.config import run_task
from tests.tasks.test_assembly import perform
from tests.tasks.test_config import composed

pytestmark = pytest.mark.gpu

ON_GPU = ["device=cuda", "importance=steady_taylor", "seed=2"]


def test_a_run_that_died_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score, calls, states = lab.score, [], []

    def dies_at_the_second(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            states.append(torch.cuda.get_rng_state())
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(lab, "score", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        perform(tmp_path, "broken", *ON_GPU)
    monkeypatch.undo()

    def goes_on(*arguments: object) -> object:
        states.append(torch.cuda.get_rng_state())
        return score(*arguments)

    torch.cuda.manual_seed(99)
    monkeypatch.setattr(lab, "score", goes_on)
    assert run_task(composed("task=resume", f"task.run={tmp_path / 'broken'}"), str(tmp_path / "other"), {}).number
    assert torch.equal(states[1], states[0])
    broken = History.read(tmp_path / "broken" / "history.csv").rows
    assert [row["step"] for row in broken] == list(range(len(broken)))
    assert len(broken) > 2
    assert all(math.isfinite(row["val/loss"]) for row in broken)
    assert json.loads((tmp_path / "broken" / "card.json").read_text())["budget_met"] is True
