"""What became of the jobs of a sweep, written down by the jobs themselves in the sweep's folder. Knows no store.

`tracking/sweep.json` says what the sweep is known by, `tracking/jobs.jsonl` gets a line whenever a job starts or ends;
the last line of a job counts. A lock beside them keeps jobs from each other's way, on whatever machines they are.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from pruning_lab.common.files import write_atomically
from pruning_lab.lab.output.journal import FOLDER
from pruning_lab.lab.output.tracker import Sweep

RUNNING = "RUNNING"

JOBS = "jobs.jsonl"

MORE, NOTE = "more", "note.md"


@dataclass(frozen=True)
class Job:
    """One job of a sweep, as far as it is known.

    Attributes:
        folder: of its run, relative to the sweep's.
        name: of its run.
        status: `RUNNING`, `FINISHED`, `FAILED` or `KILLED`.
        changed: what the sweep sets otherwise for other jobs.
        summary: the numbers that stand for its run; empty before its end.
        reason: why it failed.
    """

    folder: str
    name: str
    status: str
    changed: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


class SweepRecord:
    """The record in a sweep's folder. Its methods are called while the block `alone` lasts.

    Raises:
        OSError: nothing can be written in the sweep's folder.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self._place = sweep.folder / FOLDER

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all other jobs of the sweep from its record."""
        self._place.mkdir(parents=True, exist_ok=True)
        with FileLock(self._place / ".lock"):
            yield

    def note(self, job: Job) -> None:
        """Write down what became of a job; what is known already is not written again."""
        if job not in self.jobs():
            with open(self._place / JOBS, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(job)) + "\n")

    def jobs(self) -> list[Job]:
        """Every job that started, in the order of its start."""
        try:
            lines = (self._place / JOBS).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        latest: dict[str, Job] = {}
        for line in lines:
            try:
                job = Job(**json.loads(line))
            except (ValueError, TypeError):  # cut off by a kill
                continue
            latest[job.folder] = job
        return list(latest.values())

    def facts(self) -> dict[str, Any]:
        """What the sweep is known by: `key`, and for each store's address what is there."""
        try:
            return dict(json.loads((self._place / "sweep.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            facts = {"key": uuid.uuid4().hex, "stores": {}}
            self.write_facts(facts)
            return facts

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Keep what `facts` gave, changed."""
        write_atomically(self._place / "sweep.json", json.dumps(facts) + "\n")

    @property
    def more(self) -> Path:
        """Folder of what else is told of the sweep: files for the run above, and in `note.md` what goes to its text."""
        return self._place / MORE

    def note_text(self) -> str:
        """What is told of the sweep beside its jobs; empty where nothing is."""
        try:
            return (self.more / NOTE).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""

    def parent(self, address: str) -> str:
        """What a store at this address calls the run above; empty where it has not answered to any job yet."""
        try:
            facts = json.loads((self._place / "sweep.json").read_text(encoding="utf-8"))
            return str(facts["stores"].get(address, {}).get("run_id", ""))
        except (OSError, ValueError, KeyError):
            return ""


def as_plain(sweep: Sweep | None, run_folder: Path) -> dict[str, Any] | None:
    """A sweep as JSON holds it, its folder relative to a run's: both may be moved together."""
    if sweep is None:
        return None
    return {
        "folder": os.path.relpath(sweep.folder, run_folder),
        "name": sweep.name,
        "changed": dict(sweep.changed),
        "asked": list(sweep.asked),
    }


def from_plain(plain: Mapping[str, Any] | None, run_folder: Path) -> Sweep | None:
    """What `as_plain` made of a sweep. A run that was put aside, into a folder below its own, still finds it."""
    if plain is None:
        return None
    folder = Path(os.path.normpath(run_folder.absolute() / plain["folder"]))
    folder = next((above for above in (folder, *folder.parents) if (above / FOLDER / JOBS).is_file()), folder)
    return Sweep(folder, plain["name"], plain["changed"], plain["asked"])
