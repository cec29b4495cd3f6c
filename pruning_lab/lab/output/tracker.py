"""What a run tells a tracking store, as a contract; and the one that stores nothing. Knows no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Sweep:
    """The sweep that a run is a job of.

    Attributes:
        folder: of the sweep; all its jobs find each other there.
        name: what the sweep is called.
        changed: what it sets otherwise for other jobs, and how it is set for this one: `{"importance": "l1"}`.
        asked: all that the sweep was asked for, as typed.
    """

    folder: Path
    name: str
    changed: Mapping[str, str] = field(default_factory=dict)
    asked: Sequence[str] = ()


@dataclass(frozen=True)
class Opening:
    """What a store is told of a run when it opens.

    Attributes:
        folder: of the run.
        root: folder of all runs.
        parameters: names and values of its settings.
        tags: facts about it that are no settings.
        sweep: what it is a job of; None for a run of its own.
    """

    folder: Path
    root: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    sweep: Sweep | None = None


class Tracker(Protocol):
    """What the lab tells about a run. Only `start` may raise; no trouble of the store stops a run later."""

    @property
    def run_id(self) -> str:
        """The store's name for this run; empty before `start`, and where nothing is stored."""

    @property
    def lost(self) -> bool:
        """Whether something that was to be logged is not in the store."""

    @property
    def address(self) -> str:
        """Where people see the run, in words; empty where they can't."""

    def start(self, opening: Opening, run_id: str | None = None) -> None:
        """Open a run.

        Args:
            opening: what is known of it.
            run_id: the store's name for a run that is to go on, empty where the store has not heard of it; None opens
                a new one.

        Raises:
            LabError: the store can't be used.
        """

    def tag(self, name: str, value: str) -> None:
        """Add a fact about the run that was not known when it started."""

    def describe(self, text: str) -> None:
        """Tell people about the run, in Markdown; a later text takes the place of an earlier one."""

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of a pruning step that is done, in one call."""

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        """Log the numbers that stand for the whole run and its model (`best/...`, `at/...`)."""

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file, under `folder` of the run's artifacts."""

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows as `tables/<name>.csv`; the header is the union of their names."""

    def log_dataset(self, name: str, fingerprint: str, counts: Mapping[str, int]) -> None:
        """Say which data the run used: a fingerprint of its content, and the images of each split."""

    def log_model_folder(self, path: Path) -> None:
        """Store the folder that `pruning_lab.checkpoint.folder.load` reads, as the run's `model`."""

    def finish(self, status: Status, reason: str = "") -> None:
        """Close the run.

        Args:
            reason: why it failed, in a line.
        """


class NoTracker:
    """Logs nowhere; the run folder keeps everything all the same."""

    run_id = ""
    lost = False
    address = ""

    def start(self, opening: Opening, run_id: str | None = None) -> None: ...
    def tag(self, name: str, value: str) -> None: ...
    def describe(self, text: str) -> None: ...
    def log_step(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def log_summary(self, metrics: Mapping[str, float]) -> None: ...
    def log_artifact(self, path: Path, folder: str | None = None) -> None: ...
    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None: ...
    def log_dataset(self, name: str, fingerprint: str, counts: Mapping[str, int]) -> None: ...
    def log_model_folder(self, path: Path) -> None: ...
    def finish(self, status: Status, reason: str = "") -> None: ...
