"""How a run opens: in the tracking store, with the data it works on and a picture of it. Knows nothing of pruning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.lab.experiment import Experiment, OutputPart
from pruning_lab.lab.output.samples import augmented_samples

LOCK = ".lock"
"""File in a run's folder while a process works there."""

SAMPLES = 8
"""Augmented images in the picture at the start of a run."""


@contextmanager
def tracked(output: OutputPart, run_id: str | None = None) -> Iterator[None]:
    """Open the run in the tracking store, and close it with what became of it.

    Args:
        run_id: the store's name for a run to go on with, empty where it has none; None opens a new one.

    Raises:
        LabError: another process works in the run's folder.
    """
    with claimed(output.folder):
        output.tracker.start(output.opening, run_id)
        if output.tracker.address:
            output.reporter.say(f"tracked: {output.tracker.address}")
        try:
            yield
        except KeyboardInterrupt:
            output.tracker.finish("KILLED")
            raise
        except BaseException as error:
            output.tracker.finish("FAILED", first_line(error))
            raise
        output.tracker.finish("FINISHED")


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder; the system lets them in when this one is killed.

    Raises:
        LabError: one is in there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LabError(f"another process works in {folder}; wait for its end, or give another folder") from None
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def announce(lab: Experiment) -> None:
    """Tell the user and the tracking store what the run works on."""
    dataset, tracker = lab.data.dataset, lab.output.tracker
    if dataset.about:
        lab.output.reporter.say(dataset.about)
    counts = {split: len(dataset.split(split)) for split in ("train", "val", "test")}
    tracker.log_dataset(dataset.name, dataset.fingerprint(), counts)
    pairs = lab.loaders().sample_picture_data(min(SAMPLES, counts["train"]))
    images, masks = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    path = lab.output.folder / "figures" / "augmented_samples.png"
    tracker.log_artifact(augmented_samples(images, masks, dataset.class_names, path, lab.about), "figures")
