"""A disk that fills up at any write of any task: what was good is kept, one line says so, and the task can go on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.full_disk import RUN_FOLDER
from tests.paths import ROOT

ASKED = "PRUNING_LAB_FULL_DISK"

pytestmark = pytest.mark.slow

FEW = "base.json,state.json,history.csv"
"""Endings of files that stand for the others where not all are asked for."""
CASES = [("blocks", "prune"), ("blocks", "predict evaluate report inspect"), ("inodes", "predict inspect")]
LEAST = {"prune": 30, "predict": 6, "evaluate": 8, "report": 8, "inspect": 8}
"""Kinds of writes that each task has at least."""


def private_mounts() -> list[str]:
    """What starts a command that may mount; the test is left out where nothing may."""
    ways = [["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]]
    for way in ways if sys.platform == "linux" and shutil.which("unshare") else []:
        probe = [*way, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return way
    pytest.skip("no small disk can be mounted here: that takes Linux, and root or user namespaces")


def test_a_full_disk_at_a_few_files_of_a_run_costs_nothing_that_was_good(tmp_path: Path) -> None:
    found = answers_of("blocks", f"prune:{FEW}", tmp_path)
    assert len(found) >= len(FEW.split(","))


@pytest.mark.skipif(not os.environ.get(ASKED), reason=f"takes minutes, one run for each write; set {ASKED}=1")
@pytest.mark.parametrize(("filled", "tasks"), CASES)
def test_a_full_disk_costs_nothing_that_was_good(filled: str, tasks: str, tmp_path: Path) -> None:
    found = answers_of(filled, tasks, tmp_path)
    for task in tasks.split():
        kinds = [answer["event"] for answer in found if answer["task"] == task]
        least = LEAST[task] if filled == "blocks" else 4
        assert len(kinds) >= least, (task, kinds)
    seconds = max(answer["seconds"] for answer in found)
    print(f"{len(found)} full disks ({filled}; {tasks}) in {seconds:.0f} s of computing")


def answers_of(filled: str, tasks: str, tmp_path: Path) -> list[dict[str, Any]]:
    """What was found at each write of some tasks; each is held against what a full disk may cost."""
    way, disk, answers = private_mounts(), tmp_path / "disk", tmp_path / "answers"
    disk.mkdir()
    answers.mkdir()
    command = [*way, sys.executable, "-m", "tests.full_disk", str(disk), str(answers), filled, *tasks.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in (answers / "answers.jsonl").read_text().splitlines()]
    for answer in found:
        place = f"{answer['task']}: {answer['event']}"
        if answer["code"] == 0:  # where n is odd a page was left, which a last small file may fit
            assert answer["number"] % 2 == 1, place
            assert answer["again"]["code"] == 0, place
            continue
        assert answer["code"] == 1, place
        assert len(answer["stderr"]) == 1, (place, answer["stderr"])
        line = answer["stderr"][0]
        assert line.startswith("error: "), place
        assert str(disk) in line, place
        assert "make room" in line, place
        if answer["saved"]:  # a run that has begun may be told as well
            assert f"task=resume task.run={disk / RUN_FOLDER}" in line, (place, line)
        assert answer["damage"] == "", place
        assert answer["left"] == [], place
        assert answer["rows"] == answer["wanted"][: len(answer["rows"])], place
        if "again" in answer:
            assert answer["again"]["code"] == 0, (place, answer["again"])
            assert answer["again"]["rows"] == answer["wanted"], place
    return found
