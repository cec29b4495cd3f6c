"""Runs the jobs of a study that are missing, some at once, until all are done or the time is up.

Knows what a cell is, and of which study it is not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar

from tests.tasks.forked import Job

LOG = "job.txt"


class Planned(Protocol):
    """A job of a study; one that is equal to another is the same job."""

    @property
    def data(self) -> str:
        """The name of its data set; jobs of one share a base."""

    @property
    def name(self) -> str:
        """The path of its folder below that of the study."""

    def needs(self) -> Self | None:
        """The cell that has to be done before."""

    def runs(self, root: Path) -> Mapping[float, Path]:
        """Budget -> the folder of its run."""

    def arguments(self, root: Path, nuclei: str = "", bases: str = "") -> list[str]:
        """The command line of its job; `nuclei` and `bases` are folders."""


C = TypeVar("C", bound=Planned)


def add_options(parser: argparse.ArgumentParser, root: Path, data: Sequence[str], jobs: int, hours: float) -> None:
    """What the command line of every study has, with its defaults."""
    parser.add_argument("--root", type=Path, default=root, help="folder of the study's runs and bases")
    parser.add_argument("--data", nargs="+", choices=data, default=list(data))
    parser.add_argument("--nuclei", default=os.environ.get("PRUNING_LAB_DATA", ""), help="folder of the nuclei")
    parser.add_argument("--seeds", type=int, default=5, help="at most")
    parser.add_argument("--jobs", type=int, default=jobs, help="at once, of one thread each")
    parser.add_argument("--hours", type=float, default=hours, help="no job is started later than that")


def is_done(cell: Planned, root: Path) -> bool:
    """Whether all runs of a cell have their cards."""
    return all((folder / "card.json").is_file() for folder in cell.runs(root).values())


def starter(root: Path, nuclei: str) -> Callable[[Planned], Job]:
    """Starts a cell's job in a process of one thread; what a job that was cut short has left is taken away first."""

    def start(cell: Planned) -> Job:
        folder = root / cell.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return Job(cell.arguments(root, nuclei, str(root / "bases")), folder / LOG)

    return start


def run_cells(
    cells: Sequence[C],
    root: Path,
    start: Callable[[C], Job],
    jobs: int,
    hours: float,
    say: Callable[[str], None] = print,
) -> list[C]:
    """Run cells until all are done or the time is up; jobs that run then are waited for.

    Returns:
        the cells whose jobs failed.
    """
    waiting, failed = list(cells), list[C]()
    running: dict[C, Job] = {}
    ends = time.monotonic() + 3600 * hours
    total = len(waiting)
    while waiting or running:
        for cell in [cell for cell, job in running.items() if job.poll() is not None]:
            code = running.pop(cell).returncode
            if not is_done(cell, root):
                failed.append(cell)
                say(f"{cell.name}: ended with code {code}, see {root / cell.name / LOG}")
        while waiting and len(running) < jobs and time.monotonic() < ends:
            place = next((n for n, cell in enumerate(waiting) if _may_start(cell, root, running)), None)
            if place is None:
                break
            cell = waiting.pop(place)
            running[cell] = start(cell)
            say(f"{total - len(waiting)}/{total} {cell.name}")
        if not running:
            break  # the time is up, or what is left waits for what has failed
        time.sleep(0.05)
    if waiting:
        say(f"{len(waiting)} cells are left; the same command goes on with them")
    return failed


def _may_start(cell: C, root: Path, running: Mapping[C, Job]) -> bool:
    """Not before its widths are there, nor beside another job that may train the same base for the first time."""
    source = cell.needs()
    if source is not None and not is_done(source, root):
        return False
    return any((root / "bases").glob("*/weights.safetensors")) or not any(other.data == cell.data for other in running)
