"""A run that dies at any batch, of its base, of a recovery or of the last one, ends as if it never had."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pruning_lab.common import stopping
from pruning_lab.importance import MovingAverage, Random
from pruning_lab.lab import controls
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.run_folder import read_run
from pruning_lab.lab.resume import prune
from pruning_lab.lab.several_budgets import prune_to_each
from pruning_lab.selection.stopping import All
from pruning_lab.training.losses import CrossEntropy
from pruning_lab.training.recovery import BaseTraining, Recovery
from pruning_lab.training.schedules import cosine
from tests.networks.labs import Recorder, tiny_lab

MOMENTS = int(os.environ.get("PRUNING_LAB_KILLS", "4"))
"""At how many batches the slow tests let a run die, evenly spread."""


class Killed(BaseException):
    """Stands for the end of a process: nothing of the lab catches it."""


class Counting:
    """A loss that ends the process, or asks it to stop, at its call of a number."""

    calls = 0
    fatal = 0
    polite = False

    def __init__(self) -> None:
        self._loss = CrossEntropy()

    def __call__(self, logits: Tensor, mask: Tensor) -> Tensor:
        type(self).calls += 1
        if self.calls == self.fatal:
            if not self.polite:
                raise Killed
            stopping._on_signal(15, None)
        return self._loss(logits, mask)


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("calls", "fatal", "polite"):
        monkeypatch.setattr(Counting, name, getattr(Counting, name))


def experiment(root: Path, **changes: Any) -> Experiment:
    """Two epochs of base, one after each cut, two at the end; saved after each batch. Momentum, Adam and schedules."""
    adam, sgd = partial(torch.optim.AdamW, lr=1e-2), partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    parts = {
        "base": BaseTraining(adam, cosine, epochs=2),
        "recovery": Recovery(sgd, cosine, epochs=1, final_epochs=2, final_learning_rate=0.05),
        "importance": MovingAverage(Random(3), 0.5),
        "loss": Counting(),
        "deterministic": True,
        "save_every": 1,
        "stop": All(flops=0.6),
    }
    return tiny_lab(root, **parts | changes)


def told(folder: Path) -> list[dict[str, float]]:
    history = History.read(folder / "history.csv")
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in history]


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """An undisturbed run, and how often it asked for a loss."""
    root = tmp_path_factory.mktemp("whole")
    before = Counting.calls
    prune(experiment(root))
    return root, Counting.calls - before


def dies(lab: Experiment, at: int, polite: bool = False) -> None:
    Counting.calls, Counting.fatal, Counting.polite = 0, at, polite
    with pytest.raises(KeyboardInterrupt if polite else Killed):
        prune(lab)
    Counting.fatal = 0


def check(root: Path, whole: Path) -> None:
    assert told(root / "run") == told(whole / "run")
    assert files(root) == files(whole)


@pytest.mark.parametrize("share", [0.5, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.06, 0.9))])
def test_a_run_goes_on_from_the_batch_at_which_it_died(tmp_path: Path, whole: tuple[Path, int], share: float) -> None:
    dies(experiment(tmp_path), round(share * whole[1]))
    tracker = Recorder()
    prune(experiment(tmp_path, tracker=tracker))
    check(tmp_path, whole[0])
    assert tracker.status == "FINISHED"
    # Of what was trained before, not a batch is trained again; validations may be.
    assert Counting.calls <= whole[1] + 6


@pytest.mark.slow
def test_at_whatever_batch_it_dies(tmp_path: Path, whole: tuple[Path, int]) -> None:
    for at in range(1, whole[1] + 1, max(1, whole[1] // MOMENTS)):
        dies(experiment(tmp_path / str(at)), at, polite=at % 2 == 0)
        torch.manual_seed(at)
        prune(experiment(tmp_path / str(at)))
        check(tmp_path / str(at), whole[0])


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_saves_the_batch_first(tmp_path: Path, whole: tuple[Path, int]) -> None:
    lab = experiment(tmp_path, save_every=None)
    dies(lab, round(0.97 * whole[1]) - 2, polite=True)
    assert [path.name for path in (tmp_path / "run" / "state").glob("*batch*")]
    prune(experiment(tmp_path, save_every=None))
    check(tmp_path, whole[0])


@pytest.mark.slow
def test_another_run_goes_on_with_the_base(tmp_path: Path, whole: tuple[Path, int]) -> None:
    dies(experiment(tmp_path), 3)
    other = experiment(tmp_path)
    Counting.calls = 0
    prune(replace(other, output=replace(other.output, folder=tmp_path / "other")))
    assert told(tmp_path / "other") == told(whole[0] / "run")
    assert Counting.calls == whole[1] - 2
    assert not list((tmp_path / "bases").glob(".*"))


@pytest.mark.slow
def test_a_base_that_is_not_kept_goes_on_in_the_runs_folder(tmp_path: Path, whole: tuple[Path, int]) -> None:
    lab = experiment(tmp_path)
    base = replace(lab.training.base, reuse=False)
    dies(experiment(tmp_path, base=base), 3)
    Counting.calls = 0
    prune(experiment(tmp_path, base=base))
    assert told(tmp_path / "run") == told(whole[0] / "run")
    assert Counting.calls == whole[1] - 2
    assert not list((tmp_path / "run").glob(".*training"))


@pytest.mark.slow
def test_several_budgets_go_on_wherever_they_die(tmp_path: Path) -> None:
    def labs(root: Path) -> list[Experiment]:
        made = [experiment(root, stop=All(flops=limit)) for limit in (0.8, 0.6)]
        return [replace(lab, output=replace(lab.output, folder=root / f"run_{i}")) for i, lab in enumerate(made)]

    Counting.calls = 0
    prune_to_each(labs(tmp_path / "whole"))
    total = Counting.calls
    for at in range(2, total, max(1, total // MOMENTS)):
        root = tmp_path / str(at)
        Counting.calls, Counting.fatal = 0, at
        with pytest.raises(Killed):
            prune_to_each(labs(root))
        Counting.fatal = 0
        prune_to_each(labs(root))
        for name in ("run_0", "run_1"):
            assert told(root / name) == told(tmp_path / "whole" / name)
        assert files(root) == files(tmp_path / "whole")
        assert Counting.calls <= total + 6


CONTROLS = {"scratch": controls.scratch, "flat": controls.flat, "longer": controls.train_longer}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_goes_on_wherever_it_dies(tmp_path: Path, whole: tuple[Path, int], name: str) -> None:
    run = read_run(whole[0] / "run")

    def control(root: Path) -> None:
        lab = experiment(root, bases=whole[0] / "bases")
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "config.yaml").write_text("seed: 0\n")
        CONTROLS[name](replace(lab, output=replace(lab.output, folder=root / name)), run)

    Counting.calls = 0
    control(tmp_path / "whole")
    total = Counting.calls
    for at in range(2, total, max(1, total // MOMENTS)):
        Counting.calls, Counting.fatal = 0, at
        with pytest.raises(Killed):
            control(tmp_path / str(at))
        Counting.fatal = 0
        control(tmp_path / str(at))
        assert told(tmp_path / str(at) / name) == told(tmp_path / "whole" / name)
        assert files(tmp_path / str(at)) == files(tmp_path / "whole")
        assert Counting.calls <= total + 6


@pytest.mark.slow
def test_a_run_that_dies_after_its_end_is_closed_once_more_to_the_same_end(
    tmp_path: Path, whole: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies_here(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("pruning_lab.lab.resume.mark_done", dies_here)
        with pytest.raises(Killed):
            prune(experiment(tmp_path))
    Counting.calls = 0
    summary = prune(experiment(tmp_path))
    check(tmp_path, whole[0])
    trained = Counting.calls
    assert prune(experiment(tmp_path)) == summary
    assert Counting.calls == trained < whole[1] / 4
