"""A run that was cut short ends as if it never had been: all of its state comes back bit for bit, in a new process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from pruning_lab.checkpoint import read_architecture
from pruning_lab.common.claims import LOCK
from pruning_lab.common.errors import LabError
from pruning_lab.importance import Importance, MovingAverage, Random, Taylor
from pruning_lab.lab import loop as lab
from pruning_lab.lab import step as stages
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.console import QuietReporter
from pruning_lab.lab.output.history import History
from pruning_lab.lab.resume import prune as resume
from pruning_lab.lab.saved_state import save_state, saved_state
from pruning_lab.lab.start import tracked
from pruning_lab.lab.state import RunState
from pruning_lab.training.held import tensors_of
from tests.networks.labs import Recorder, tiny_lab

METHODS: dict[str, Callable[[], Importance]] = {
    "taylor": Taylor,
    "with_memory": lambda: MovingAverage(MovingAverage(Random(3), 0.5)),
}


def exact(root: Path, method: str, **changes: Any) -> Experiment:
    return tiny_lab(root, importance=METHODS[method](), deterministic=True, seed=5, **changes)


class Killed(BaseException):
    """Stands for the end of a process: nothing of the lab catches it."""


def cut_short(experiment: Experiment, after: int) -> None:
    """Prune, and die at the start of the step after so many."""
    calls = iter(range(after + 1))

    def before_step() -> None:
        if next(calls) == after:
            raise Killed

    with pytest.raises(Killed), tracked(experiment.output):
        lab.go_on(experiment, lab.begin(experiment), before_step)


def told(root: Path) -> list[dict[str, float]]:
    """The history, but for what the clock decides."""
    history = History.read(root / "run" / "history.csv")
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in history]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_is_taken_up_ends_as_the_undisturbed_one(tmp_path: Path, method: str) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    summary = lab.prune(exact(whole, method))
    cut_short(exact(broken, method), after=2)
    torch.manual_seed(99)
    again = resume(exact(broken, method))
    assert told(broken) == told(whole)
    assert len(told(broken)) > 4
    assert again["test/iou"] == summary["test/iou"]
    models = [load_file(root / "run" / "model" / "weights.safetensors") for root in (whole, broken)]
    assert all(torch.equal(tensor, models[1][name]) for name, tensor in models[0].items())
    layers = [read_architecture(root / "run" / "model")["layers"] for root in (whole, broken)]
    assert layers[0] == layers[1]


RESUME = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from pruning_lab.lab.resume import prune as resume
from tests.lab.test_saved_state import exact
resume(exact(Path(sys.argv[1]), "with_memory"))
"""


@pytest.mark.slow
def test_a_new_process_goes_on_where_the_old_one_died(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    lab.prune(exact(whole, "with_memory"))
    cut_short(exact(broken, "with_memory"), after=1)
    here = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(here), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", RESUME, str(broken)], cwd=here, env=environment, check=True)
    assert told(broken) == told(whole)


def same_state(one: RunState, other: RunState) -> None:
    for model, twin in [(one.model, other.model), (one.base, other.base)] + [
        (first.model, second.model) for first, second in zip(one.snapshots, other.snapshots, strict=True)
    ]:
        tensors, twins = tensors_of(model), tensors_of(twin)
        assert tensors.keys() == twins.keys()
        assert all(torch.equal(tensor, twins[name]) for name, tensor in tensors.items())
        assert [part.training for part in one.model.modules()] == [part.training for part in other.model.modules()]
    for row, twin_row in zip(one.graph.rows.now, other.graph.rows.now, strict=True):
        assert torch.equal(row, twin_row)
    for name in ("step", "epoch", "widths", "preference", "unmet", "timed", "base_hash", "original", "floors"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.history.rows == other.history.rows
    assert one.optimizer.param_groups[0].keys() == other.optimizer.param_groups[0].keys()
    for parameter, twin_parameter in zip(one.model.parameters(), other.model.parameters(), strict=True):
        kept, twin_kept = one.optimizer.state[parameter], other.optimizer.state[twin_parameter]
        assert kept.keys() == twin_kept.keys()
        assert all(torch.equal(kept[key], twin_kept[key]) for key in kept)


def test_all_of_a_state_comes_back(tmp_path: Path) -> None:
    experiment = exact(tmp_path, "with_memory")
    state = lab.begin(experiment)
    scores, spent = lab.score(experiment, state)
    stages.finish_step(experiment, state, lab.advance(experiment, state, lab.choose(experiment, state, scores), spent))
    save_state(state, experiment.output.folder, "run 7")
    saved = saved_state(experiment.output.folder)
    fresh = exact(tmp_path, "with_memory")
    same_state(state, saved.restore(fresh))
    assert saved.run_id == "run 7"
    for one, other in [(experiment, fresh)]:
        memories = one.pruning.importance.memory, other.pruning.importance.memory
        assert all(torch.equal(kept, memories[1][layer]) for layer, kept in memories[0].items())
    assert state.optimizer.param_groups[0]["betas"] == saved.restore(fresh).optimizer.param_groups[0]["betas"]


def test_one_state_is_left_after_each_step_and_none_when_all_is_done(tmp_path: Path) -> None:
    seen = []
    experiment = tiny_lab(tmp_path)
    folder = experiment.output.folder / "state"
    state = lab.begin(experiment)
    lab.go_on(experiment, state, before_step=lambda: seen.append([path.name for path in folder.iterdir()]))
    assert seen == [[f"step_{step}"] for step in range(len(seen))]
    resume(tiny_lab(tmp_path))
    assert not folder.exists()


def test_what_never_changes_is_on_disk_once(tmp_path: Path) -> None:
    experiment = tiny_lab(tmp_path)
    cut_short(experiment, after=0)
    first = (experiment.output.folder / "state" / "step_0" / "base.safetensors").stat().st_ino
    cut_short(tiny_lab(tmp_path / "other"), after=2)
    (state,) = (tmp_path / "other" / "run" / "state").iterdir()
    assert {path.name for path in state.glob("snapshot_*")} == {f"snapshot_{step}.safetensors" for step in range(3)}
    saved = saved_state(tmp_path / "other" / "run")
    place = save_state(saved.restore(tiny_lab(tmp_path / "other")), tmp_path / "run")
    assert (place / "base.safetensors").stat().st_ino == first


def test_a_half_written_state_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = tiny_lab(tmp_path)
    cut_short(experiment, after=1)
    state = saved_state(experiment.output.folder).restore(tiny_lab(tmp_path))
    state.step = 2

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pruning_lab.common.versions.os.replace", full)
    stages.rest(experiment, state)
    assert "No space left" in experiment.output.reporter.warnings[-1]
    assert [path.name for path in (experiment.output.folder / "state").iterdir()] == ["step_1"]


def test_a_new_run_in_the_folder_forgets_the_old_ones_state(tmp_path: Path) -> None:
    cut_short(tiny_lab(tmp_path), after=2)
    lab.begin(tiny_lab(tmp_path))
    assert saved_state(tmp_path / "run") is None


def test_the_tracking_store_goes_on_with_the_same_run(tmp_path: Path) -> None:
    cut_short(tiny_lab(tmp_path, tracker=Recorder()), after=2)
    tracker = Recorder()
    resume(tiny_lab(tmp_path, tracker=tracker))
    assert tracker.resumed == "recorded"
    assert tracker.steps[0][0] == 3
    assert tracker.datasets == []
    assert tracker.status == "FINISHED"


def test_other_code_or_data_is_told(tmp_path: Path) -> None:
    cut_short(tiny_lab(tmp_path, max_steps=1), after=0)
    reporter = QuietReporter()
    resume(tiny_lab(tmp_path, max_steps=1, base_recipe={"model": "another"}, reporter=reporter))
    assert any("changed since the run began" in warning for warning in reporter.warnings)


def test_a_folder_has_one_process_at_a_time(tmp_path: Path) -> None:
    cut_short(tiny_lab(tmp_path), after=0)
    tracker = Recorder()
    with FileLock(tmp_path / "run" / LOCK), pytest.raises(LabError, match="another process works in"):
        resume(tiny_lab(tmp_path, tracker=tracker))
    assert tracker.status == ""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("state.json", "{", "state.json can't be read"), ("model.safetensors", "x", "model.safetensors can't be read")],
)
def test_a_damaged_state_names_its_file(tmp_path: Path, name: str, content: str, said: str) -> None:
    cut_short(tiny_lab(tmp_path), after=0)
    (tmp_path / "run" / "state" / "step_0" / name).write_text(content)
    with pytest.raises(LabError, match=said) as caught:
        resume(tiny_lab(tmp_path))
    assert "\n" not in str(caught.value)
