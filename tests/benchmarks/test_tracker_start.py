"""How long a run takes to start in a store that holds one run, and in one that holds five hundred."""

import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pruning_lab.lab.output.mlflow import MlflowTracker
from pruning_lab.lab.output.tracker import Opening, Sweep

MOST = 2.0
"""Seconds that a start may take, whatever the store holds."""

RUNS = 500
PARAMETERS = {f"group.setting_{number}": number for number in range(140)}
TABLES, KEY = ("runs", "params", "tags", "metrics", "latest_metrics"), "run_uuid"
"""Those of MLflow's that hold a run, and their column that names it."""


def start(root: Path, number: int) -> float:
    """Seconds that a job's run takes to start."""
    tracker = MlflowTracker(run_name=f"run {number}")
    sweep = Sweep(root / "sweep", "a sweep", {"seed": str(number)}, ["seed=0,1"])
    opening = Opening(root / "sweep" / str(number), root, PARAMETERS, {"command": "x"}, sweep)
    began = time.perf_counter()
    tracker.start(opening)
    seconds = time.perf_counter() - began
    for step in range(10):
        tracker.log_step(step, {f"val/iou/class_{index}": 0.5 for index in range(20)})
    tracker.finish("FINISHED")
    assert not tracker.lost
    return seconds


def fill(database: Path) -> None:
    """Copies of the store's first run below a parent, until there are five hundred."""
    with sqlite3.connect(database) as store:
        (first,) = store.execute("select run_uuid from tags where key = 'mlflow.parentRunId'").fetchone()
        for table in TABLES:
            columns = [row[1] for row in store.execute(f"pragma table_info({table})")]
            chosen = ", ".join("?" if column == KEY else column for column in columns)
            copies = [(f"{number:032x}", first) for number in range(RUNS)]
            store.executemany(f"insert into {table} select {chosen} from {table} where {KEY} = ?", copies)
    store.close()


@pytest.mark.slow
@pytest.mark.benchmark_ratio
def test_a_run_starts_as_fast_in_a_store_of_five_hundred(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.perf_counter()
    command = [sys.executable, "-c", "from mlflow.store.tracking import sqlalchemy_store"]
    subprocess.run(command, check=True)
    importing = time.perf_counter() - began
    one, many = tmp_path / "one", tmp_path / "many"
    making = start(one, 0)
    shutil.copytree(one, many)
    fill(many / "mlflow.db")
    seconds: dict[Path, list[float]] = {one: [], many: []}
    for number in range(1, 4):
        for root in (one, many):
            seconds[root].append(start(root, number))
    few, full = (statistics.median(seconds[root]) for root in (one, many))
    with capsys.disabled():
        print(f"\nstart of a run: {few:.2f} s beside few others, {full:.2f} s beside {RUNS} (aim: {MOST:.0f} s)")
        print(f"once: {importing:.1f} s to import MLflow, {making:.1f} s to make the tables of a new store")
    assert max(few, full) < MOST
