"""Runs count each other, whatever way they end, and know what is theirs of the machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_lab.common import sharing

HOLD = """
import sys, time
from pathlib import Path
from pruning_lab.common.sharing import working
with working(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _nothing_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (sharing.EXPECTED, "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)


def test_a_run_counts_itself_while_it_works(tmp_path: Path) -> None:
    assert sharing.runs_here(tmp_path) == 1
    with sharing.working(tmp_path), sharing.working(tmp_path):
        assert sharing.runs_here(tmp_path) == 2
        assert sharing.share(tmp_path) == max(1, sharing.cores() // 2)
    assert sharing.runs_here(tmp_path) == 1
    assert not list(tmp_path.glob("*-*"))


def test_a_killed_run_is_counted_no_longer(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with sharing.working(tmp_path):
            assert sharing.runs_here(tmp_path) == 2
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    with sharing.working(tmp_path):
        assert sharing.runs_here(tmp_path) == 1
    assert not list(tmp_path.glob("*-*"))


def test_a_launcher_says_how_many_will_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sharing.EXPECTED, "4")
    with sharing.working(tmp_path):
        assert sharing.runs_here(tmp_path) == 4


def test_slurms_word_and_control_groups_bound_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(sharing, "_group_limits", lambda: [6])
    assert sharing.cores() == 6
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert sharing.cores() == 4


@pytest.mark.parametrize(
    ("files", "line", "limits"),
    [
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "350000 100000"}, "0::/a/b", [3]),
        ({"cpu/a/cpu.cfs_quota_us": "200000", "cpu/a/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/a", [2]),
        ({"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, "4:cpu:/a", []),
        ({"cpu.max": "50000 100000"}, "0::/", [1]),
    ],
)
def test_limits_of_control_groups_are_read(tmp_path: Path, files: dict[str, str], line: str, limits: list[int]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "own").write_text(line + "\n")
    assert sharing._group_limits(tmp_path, tmp_path / "own") == limits


def test_a_folder_that_can_not_be_written_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with sharing.working(tmp_path / "file" / "below"):
        assert sharing.runs_here(tmp_path / "file" / "below") == 1
