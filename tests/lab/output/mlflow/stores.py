"""Runs in stores for the tests here."""

import uuid
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from pruning_lab.lab.output.mlflow import MlflowTracker
from pruning_lab.lab.output.tracker import Opening, Sweep


def started(
    root: Path,
    parameters: dict[str, Any] | None = None,
    folder: Path | None = None,
    sweep: Sweep | None = None,
    **settings: Any,
) -> MlflowTracker:
    """A run that has begun, in a folder of its own under `root`."""
    tracker = MlflowTracker(**settings)
    folder = folder or root / "runs" / uuid.uuid4().hex
    tracker.start(Opening(folder, root, parameters or {}, {"git_commit": "abc", "run_folder": str(folder)}, sweep))
    return tracker


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def stored(root: Path, tracker: MlflowTracker) -> Run:
    return client_of(root).get_run(tracker.run_id)


def folder_of(tracker: MlflowTracker) -> Path:
    """Where a run that `started` began works."""
    assert tracker._run is not None
    return tracker._run.journal.run_folder
