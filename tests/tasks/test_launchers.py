"""Sweeps on launchers of Hydra: workers that are killed, jobs that are preempted, a parent that is gone."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pruning_lab.common.marks import DONE, FAILED
from tests.tasks.typed_sweep import LINE, Sweep

JOBS = int(os.environ.get("PRUNING_LAB_TEST_JOBS", "6"))
WORKERS = int(os.environ.get("PRUNING_LAB_TEST_WORKERS", "2"))
SUBMITTED = int(os.environ.get("PRUNING_LAB_TEST_SUBMITTED", "3"))
WAIT = 300
"""Seconds that a machine under load may take."""


def command(sweep: Sweep, *more: str) -> list[str]:
    return [sys.executable, "-m", "pruning_lab", *LINE, f"output_root={sweep.root}", *more]


def done(sweep: Sweep) -> int:
    return len(list(sweep.root.glob(f"sweeps/s/*/{DONE}")))


def wait_until_done(sweep: Sweep, count: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + WAIT
    while done(sweep) < count:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)


@pytest.mark.slow
def test_a_sweep_of_processes_is_complete_after_kills_and_ends_with_its_parent(sweep: Sweep) -> None:
    seeds = ",".join(str(seed) for seed in range(1, JOBS))
    line = [f"seed={seeds},oops", "hydra/launcher=processes", f"hydra.launcher.n_jobs={WORKERS}"]
    sweep.trouble("2 killed_once")
    log = sweep.root / "log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(command(sweep, *line), stdout=stream, stderr=stream)
    wait_until_done(sweep, JOBS // 2, process, log)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= WORKERS
    process.kill()
    process.wait()
    assert "the launcher failed (TerminatedWorkerError" in log.read_text()
    assert not psutil.wait_procs(workers, timeout=60)[1]
    before, worked = done(sweep), sweep.worked
    finished = {name for name, folder in sweep.folders.items() if (folder / DONE).exists()}
    assert len(finished) < JOBS - 1
    again = subprocess.run(command(sweep, *line), capture_output=True, text=True, timeout=WAIT)
    assert again.returncode == 1, again.stderr
    assert f"1 of {JOBS} jobs failed" in again.stderr
    assert f"{JOBS} jobs: {before} done" in again.stdout
    assert done(sweep) == JOBS - 1
    assert "oops" in json.loads((sweep.folders["seed_oops"] / FAILED).read_text())["reason"]
    assert {name: sweep.worked[name] for name in finished} == {name: worked[name] for name in finished}
    assert sweep.worked["seed_2"] >= 2
    total = sum(sweep.worked.values())
    assert sweep(*line[:1]) == 1
    assert sum(sweep.worked.values()) == total


@pytest.mark.slow
def test_a_job_of_submitit_that_is_preempted_is_done_in_the_end(sweep: Sweep) -> None:
    sweep.trouble("2 preempted_once")
    line = ["seed=" + ",".join(str(seed) for seed in range(1, SUBMITTED + 1)), "hydra/launcher=submitit_local"]
    run = subprocess.run(command(sweep, *line), capture_output=True, text=True, timeout=WAIT)
    assert run.returncode == 0, run.stderr
    assert sweep.worked == {f"seed_{seed}": 2 if seed == 2 else 1 for seed in range(1, SUBMITTED + 1)}
    assert done(sweep) == SUBMITTED
    assert run.stdout.count("│ done ") == SUBMITTED


@pytest.mark.slow
def test_jobs_on_ray_are_done_and_one_that_is_killed_goes_on(sweep: Sweep) -> None:
    pytest.importorskip("ray", reason="Ray is an extra that can't stand beside joblib: pip install 'pruning_lab[ray]'")
    sweep.trouble("2 killed_once")
    line = ["seed=1,2", "hydra/launcher=ray_jobs", "hydra.launcher.ray.init.num_cpus=2"]
    run = subprocess.run(command(sweep, *line), capture_output=True, text=True, timeout=WAIT)
    assert run.returncode == 0, run.stderr
    assert sweep.worked == {"seed_1": 1, "seed_2": 2}
    assert done(sweep) == 2
    assert run.stdout.count("│ done ") == 2
