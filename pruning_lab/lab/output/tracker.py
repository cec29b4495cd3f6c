"""What a run tells a tracking store, as a contract; and the one that stores nothing. Knows no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    pass


Status = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker(Protocol):
    """What the lab tells about a run. Only `start` may raise; no trouble of the store stops a run later."""

    @property
    def run_id(self) -> str:
        """The store's name for this run; empty before `start`, and where nothing is stored."""

    @property
    def lost(self) -> bool:
        """Whether something that was to be logged is not in the store."""

    def start(
        self, output_root: Path, parameters: Mapping[str, Any], tags: Mapping[str, str], run_id: str = ""
    ) -> None:
        """Open a new run, or the one of a `run_id` again. Raises LabError if the store can't be used."""

    def tag(self, name: str, value: str) -> None:
        """Add a fact about the run that was not known when it started."""

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of a pruning step that is done, in one call."""

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        """Log the numbers that stand for the whole run (`best/...`, `at/...`)."""

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file, under `folder` of the run's artifacts."""

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows as `tables/<name>.csv`; the header is the union of their names."""

    def log_dataset(self, name: str, fingerprint: str, counts: Mapping[str, int]) -> None:
        """Say which data the run used: a fingerprint of its content, and the images of each split."""

    def log_model_folder(self, path: Path) -> None:
        """Store the folder that `pruning_lab.checkpoint.folder.load` reads, as `model/`."""

    def finish(self, status: Status) -> None:
        """Close the run."""


class NoTracker:
    """Logs nowhere; the run folder keeps everything all the same."""

    run_id = ""
    lost = False

    def start(
        self, output_root: Path, parameters: Mapping[str, Any], tags: Mapping[str, str], run_id: str = ""
    ) -> None: ...
    def tag(self, name: str, value: str) -> None: ...
    def log_step(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def log_summary(self, metrics: Mapping[str, float]) -> None: ...
    def log_artifact(self, path: Path, folder: str | None = None) -> None: ...
    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None: ...
    def log_dataset(self, name: str, fingerprint: str, counts: Mapping[str, int]) -> None: ...
    def log_model_folder(self, path: Path) -> None: ...
    def finish(self, status: Status) -> None: ...
