"""devices=2: two processes on the CPU make the run that one makes, however it is started and wherever it is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from pruning_lab.lab.output.history import History
from tests.lab.output.mlflow.servers import free_port
from tests.paths import ROOT

pytest.importorskip("lightning_fabric")
pytestmark = pytest.mark.slow

SETTINGS = (
    *("+debug=limit", "tracking=none", "device=cpu", "deterministic=true", "seed=1", "save_every=1"),
    *("data.train=18", "loader.batch_size=8", "importance=taylor", "distillation=soft_targets"),
    *("base.epochs=3", "recovery.epochs=1", "recovery.final_epochs=1", "max_steps=2", "threads=1"),
    *("optimizer@base.optimizer=sgd", "optimizer@recovery.optimizer=sgd"),
)
"""18 images in batches of 8 leave a last batch of 2. Plain SGD: Adam makes a step of what is mere rounding."""

NOT_MET = 3
"""Exit code of a run whose steps end before it meets its budget."""

PATIENCE = 600
"""Seconds that a run may take."""

TIMES = ("seconds", "latency")


def command(root: Path, *overrides: str) -> list[str]:
    given = [*SETTINGS, f"output_root={root}", f"hydra.run.dir={root}/run"]
    return [sys.executable, "-m", "pruning_lab", *given, *overrides]


def variables() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(line: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, env=variables(), cwd=ROOT)


def finished(root: Path, *overrides: str) -> Path:
    done = run(command(root, *overrides))
    assert done.returncode == NOT_MET, done.stderr
    return root / "run"


def told(folder: Path) -> list[dict[str, float]]:
    rows = History.read(folder / "history.csv")
    return [{name: value for name, value in row.items() if not any(word in name for word in TIMES)} for row in rows]


def until(process: subprocess.Popen[str], probe: Callable[[], bool]) -> None:
    """Wait for a moment of a run; on a machine under load that takes minutes."""
    end = time.monotonic() + PATIENCE
    while not probe():
        assert process.poll() is None, "the run has ended"
        if time.monotonic() > end:
            process.kill()
            pytest.fail("the run takes too long")
        time.sleep(0.05)


def started(line: list[str]) -> subprocess.Popen[str]:
    """A process that runs; what it says is caught."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, env=variables(), cwd=ROOT, **output)


def assert_same_run(one: Path, other: Path) -> None:
    """The same cuts and widths; scores and weights within rounding.

    In float32 a run drifts as far where one process takes channels_last=true; `tests/training/ranks` has float64.
    """
    assert (one / "widths.csv").read_text() == (other / "widths.csv").read_text()
    first, second = told(one), told(other)
    assert len(first) == len(second) == 4
    for row, like in zip(first, second, strict=True):
        assert row == pytest.approx(like, rel=2e-3, abs=1e-2)
        for name in ("resources/macs", "resources/weights", "selection/groups_removed"):
            assert row.get(name) == like.get(name)
    ours, theirs = (load_file(next((each / "model").glob("*.safetensors"))) for each in (one, other))
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=5e-3, msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("alone"))


def killed(root: Path, *overrides: str) -> None:
    """Start a run, and kill it within its second recovery; none of its processes is left."""
    process = started(command(root, *overrides))
    until(process, lambda: any((root / "run" / "state").glob("step_1_batch_*")))
    others = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert len(others) == ("devices=2" in overrides)
    assert not psutil.wait_procs(others, timeout=30)[1]


def test_two_processes_make_the_run_that_one_makes(alone: Path, tmp_path: Path) -> None:
    assert_same_run(finished(tmp_path, "devices=2"), alone)


def test_torchrun_starts_a_run_as_well(alone: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    done = run([*torchrun, *command(tmp_path)[1:]])
    assert done.stdout.count("saved in") == 1, done.stderr
    assert_same_run(tmp_path / "run", alone)


def test_the_ranks_of_torchrun_end_where_nothing_is_trained(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    done = run([*torchrun, "-m", "pruning_lab", "--version"])
    assert (done.returncode, done.stdout.count("pruning_lab 0")) == (0, 1)


def test_what_one_process_left_two_go_on_with(alone: Path, tmp_path: Path) -> None:
    killed(tmp_path)
    done = run([sys.executable, "-m", "pruning_lab", "task=resume", f"task.run={tmp_path}/run", "devices=2"])
    assert "goes on after step 1" in done.stdout, done.stderr
    assert_same_run(tmp_path / "run", alone)


def test_a_run_of_two_that_is_killed_is_killed_whole_and_goes_on(alone: Path, tmp_path: Path) -> None:
    killed(tmp_path, "devices=2")
    done = run([sys.executable, "-m", "pruning_lab", "task=resume", f"task.run={tmp_path}/run"])
    assert "goes on after step 1" in done.stdout, done.stderr
    assert_same_run(tmp_path / "run", alone)


def test_a_rank_that_is_killed_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    line = command(tmp_path, "devices=2", "base.epochs=1000")
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables(), cwd=ROOT
    )
    until(process, lambda: any((tmp_path / "bases").glob(".*training/step_*")))
    (other,) = psutil.Process(process.pid).children(recursive=True)
    os.kill(other.pid, signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.strip().splitlines()[-1] == "error: process 2 of devices=2 failed: it was ended by SIGKILL"


def test_a_request_to_stop_saves_the_run_and_ends_all(tmp_path: Path) -> None:
    line = command(tmp_path, "devices=2", "base.epochs=1000")
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables(), cwd=ROOT
    )
    until(process, lambda: any((tmp_path / "bases").glob(".*training/step_*")))
    others = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err.count("interrupted; go on with it")) == (130, 1)
    assert not psutil.wait_procs(others, timeout=30)[1]


def test_a_number_of_devices_that_can_not_be_is_told(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    done = run([*torchrun, *command(tmp_path, "devices=3")[1:]])
    assert "error: devices=3, and 2 processes were started; set devices=null" in done.stderr
