"""Finds the run folders of a study, and tells which runs are not fit to be compared. Reads files, changes none."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.common.marks import BEGUN, DONE, FAILED, read_mark
from pruning_lab.lab.output.run_folder import HYDRA_FOLDER, Run, read_config, read_run, shortest

NOT_SEARCHED = {"mlartifacts", "bases"}
"""Folders beside the runs: copies for the tracking store, and trained bases."""

NO_RUNS = (".inspect", ".report", ".budgets", ".predict", ".evaluate", ".export", ".show", ".upload", ".profile_steps")
"""How the targets of tasks end whose own folder is no run; the runs of `budgets` are in folders below."""


@dataclass(frozen=True)
class Found:
    """The runs that are finished, and folder -> why not for the others."""

    runs: tuple[Run, ...]
    left_out: Mapping[str, str]


def find_runs(places: str | Sequence[str]) -> Found:
    """Read every run at or below some places.

    Args:
        places: folders, or patterns of folders such as `outputs/sweeps/study/*`.

    Raises:
        LabError: a place does not exist, or there is no finished run.
    """
    places = [places] if isinstance(places, str) else list(places)
    runs, left_out = [], {}
    for folder in _folders(places):
        try:
            run = read_run(folder)
        except LabError as error:
            left_out[str(folder)] = str(error).partition(";")[0]
            continue
        if (why := _unfinished(run)) is not None:
            left_out[str(folder)] = why
        else:
            runs.append(run)
    if not runs:
        reasons = f"; {next(iter(left_out.values()))}" if left_out else ""
        raise LabError(f"task.runs: no finished run in {', '.join(places)}{reasons}; give folders of finished runs")
    return Found(tuple(runs), left_out)


def _folders(places: Iterable[str]) -> list[Path]:
    found: dict[Path, None] = {}
    for place in places:
        tops = sorted(glob.glob(os.path.expanduser(place), recursive=True), key=_by_number)
        if not tops:
            raise LabError(f"task.runs={place}: there is no such folder; give the folder of a sweep, or of a run")
        for top in tops:
            found |= {folder.resolve(): None for folder in _below(Path(top))}
    return [shortest(folder) for folder in found]


def _below(top: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(top):
        if _is_run(Path(place), set(folders), set(files)):
            folders.clear()
            yield Path(place)
        folders[:] = sorted((name for name in folders if name not in NOT_SEARCHED), key=_by_number)


def _is_run(folder: Path, folders: set[str], files: set[str]) -> bool:
    """Whether a job worked here, even one that ended before its first row."""
    if {"config.yaml", "history.csv"} <= files:
        return True
    record = folder / HYDRA_FOLDER / "config.yaml"
    if HYDRA_FOLDER not in folders or not record.is_file():
        return False
    task = read_config(record).get("task")
    return not (isinstance(task, Mapping) and str(task.get("_target_")).endswith(NO_RUNS))


def _unfinished(run: Run) -> str | None:
    """Why a run that left all its files is not finished after all; a run that is done says so itself."""
    if (run.folder / DONE).is_file():
        return None
    if (run.folder / BEGUN).is_file():
        reason = (read_mark(run.folder, FAILED) or {}).get("reason")
        return f"{run.folder}: it {f'failed: {reason}' if reason else 'was cut short, and task=resume goes on with it'}"
    final = run.config.get("recovery", {}).get("final_epochs", 0)
    prunes = str(run.config.get("task", {}).get("_target_")).endswith(".prune")
    if prunes and final and run.history[-1].get("selection/groups_removed"):
        return f"{run.folder}: it broke off before its final recovery"
    return None


def _by_number(path: str) -> tuple[str, int, str]:
    """Puts job 10 after job 9."""
    head, name = os.path.split(path.rstrip("/"))
    return head, int(name) if name.isdigit() else -1, name
