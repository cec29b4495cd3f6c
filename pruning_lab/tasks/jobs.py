"""One job in its folder: done before, gone on with, or begun; and what is left of one that failed. Knows no task.

Nothing heavy is imported before a task runs, so that a job that is done is answered at once.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pruning_lab.common.claims import LOCK, claimed, is_held
from pruning_lab.common.commit import code_digest, git_commit
from pruning_lab.common.errors import LabError
from pruning_lab.common.marks import BEGUN, DONE, FAILED, JOB, read_mark, remove_mark, write_mark
from pruning_lab.common.sharing import working
from pruning_lab.common.versions import versions
from pruning_lab.tasks.config import build, fill_null, run_task
from pruning_lab.tasks.job_names import job_hash, name_of
from pruning_lab.tasks.outcome import Outcome, returned

EARLIER = "earlier"
"""Folder in a job's folder: what was there before the job was done again, numbered."""


class OtherJobError(LabError):
    """The folder is another job's, so nothing of this one is written there."""


STAYS = (EARLIER, LOCK, "hydra")


def perform(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Outcome:
    """Do a job, or what is left of it to do; a job that is done is answered by what it left.

    Raises:
        HeldError: another process works on it.
        LabError: the folder holds another job, or what the task raises.
    """
    folder = folder.absolute()
    with claimed(folder):
        job, settings, code = read_mark(folder, JOB) or {}, job_hash(config), code_digest()
        if job.get("settings", settings) != settings:
            raise OtherJobError(f"{folder} holds a job of other settings; give another folder")
        summary, same_code = _summary(folder), job.get("code", code) == code
        if summary is not None and not config.rerun:
            print(f"{folder} is done" + ("" if same_code else _by_other_code(job, "done")), flush=True)
            return returned(config, summary)
        if summary is not None or (config.rerun and not same_code) or _failed_after_all(folder):
            set_aside(folder)
        elif not same_code and standing(folder) == "interrupted":
            print(f"{folder} goes on" + _by_other_code(job, "begun"), flush=True)
        commit = git_commit(Path(__file__).parent)
        write_mark(folder, JOB, {"settings": settings, "code": code, "commit": commit})
        remove_mark(folder, FAILED)
        with working():
            return run_task(config, str(folder), choices)


def standing(folder: Path) -> str:
    """How far a job is: `new`, `held` by another process, `done`, `failed`, or `interrupted`."""
    if is_held(folder):
        return "held"
    for mark, name in ((DONE, "done"), (FAILED, "failed"), (JOB, "interrupted")):
        if (folder / mark).is_file():
            return name
    return "new"


def set_aside(folder: Path) -> None:
    """Move all that a job left into `earlier/N` below its folder, so that nothing is written over."""
    place = folder / EARLIER
    number = 1 + max((int(path.name) for path in place.glob("[0-9]*")), default=0)
    (place / str(number)).mkdir(parents=True)
    for path in folder.iterdir():
        if path.name not in STAYS:
            shutil.move(path, place / str(number) / path.name)


def note_failure(config: DictConfig, folder: Path, reason: str, overrides: Sequence[str]) -> None:
    """Write down why a job of a sweep failed: in its folder, and in the tracking store where the run did not get there.

    Args:
        config: with `tracking` and `output_root`.
        overrides: what was set on the command line.
    """
    from pruning_lab.lab.output.tracker import Opening
    from pruning_lab.tasks.naming import sweep_of

    earlier = read_mark(folder, FAILED) or {}
    about = {"reason": reason, "run_id": earlier.get("run_id", "")}
    write_mark(folder, FAILED, about)
    is_told = about["run_id"] and earlier.get("reason") == reason
    if is_told or (read_mark(folder, BEGUN) or {}).get("run_id"):
        return
    tracking = copy.deepcopy(config.tracking)
    fill_null(tracking, run_name=name_of(folder))
    tracker = build(tracking)
    tags = {"run_folder": str(folder), "overrides": " ".join(overrides)}
    root = Path(config.output_root).absolute()
    try:
        opening = Opening(folder.absolute(), root, tags=tags, sweep=sweep_of(folder, config.name))
        tracker.start(opening, about["run_id"] or None)
    except LabError:  # of a store that is away the runs speak
        return
    tracker.finish("FAILED", reason)
    write_mark(folder, FAILED, {**about, "run_id": tracker.run_id})


def _summary(folder: Path) -> dict[str, float] | None:
    mark = read_mark(folder, DONE)
    return None if mark is None else dict(mark["summary"])


def _failed_after_all(folder: Path) -> bool:
    """Whether the last try left results, and no state to go on from."""
    left = (folder / "history.csv").is_file() and not versions(folder / "state")
    return left and (folder / FAILED).is_file()


def _by_other_code(job: Mapping[str, Any], what: str) -> str:
    return f"; warning: it was {what} by other code, of commit {job.get('commit', 'unknown')}; rerun=true does it again"
