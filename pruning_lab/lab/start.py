"""How a run opens and closes: in its folder, in the tracking store, with its data. Knows nothing of pruning."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pruning_lab.common.claims import LOCK, claimed
from pruning_lab.common.errors import GivenUpError, first_line
from pruning_lab.common.marks import BEGUN, DONE, FAILED, read_mark, remove_mark, write_mark
from pruning_lab.lab.experiment import Experiment, OutputPart
from pruning_lab.lab.output.samples import augmented_samples
from pruning_lab.lab.saved_state import sweep_up

TRAINING = ".training"
"""How folders end that hold a training that goes on."""

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
        write_mark(output.folder, BEGUN, {"run_id": run_id or ""})
        output.tracker.start(output.opening, run_id)
        write_mark(output.folder, BEGUN, {"run_id": output.tracker.run_id})
        if output.tracker.address:
            output.reporter.say(f"tracked: {output.tracker.address}")
        try:
            yield
        except KeyboardInterrupt:
            output.tracker.finish("KILLED")
            raise
        except GivenUpError as error:
            output.tracker.finish("KILLED", first_line(error))
            raise
        except BaseException as error:
            output.tracker.finish("FAILED", first_line(error))
            raise
        output.tracker.finish("FINISHED")


def begun(folder: Path) -> str | None:
    """The tracking store's name for the run that was begun in a folder and is not done; None where none was."""
    mark = read_mark(folder, BEGUN)
    return None if mark is None else str(mark["run_id"])


def done(folder: Path) -> dict[str, float] | None:
    """The summary of a run that is done; None where it is not."""
    mark = read_mark(folder, DONE)
    return None if mark is None else dict(mark["summary"])


def mark_done(output: OutputPart, summary: Mapping[str, float]) -> None:
    """Nothing is left to do: say so, and remove what only a run that goes on needs."""
    about = {"commit": output.commit, "run_id": output.tracker.run_id}
    write_mark(output.folder, DONE, {"summary": dict(summary), **about})
    remove_mark(output.folder, BEGUN)
    remove_mark(output.folder, FAILED)
    sweep_up(output.folder)
    sweep_drafts(output.folder, of_trainings=True)


def start_anew(folder: Path) -> None:
    """Forget what an earlier run in this folder left for its way on."""
    remove_mark(folder, DONE)
    sweep_up(folder)


def sweep_drafts(folder: Path, of_trainings: bool = False) -> None:
    """Remove half-written files that a killed process left in a run's folder; trainings too where none goes on."""
    for path in folder.glob(".*"):
        if path.is_dir() and (of_trainings or not path.name.endswith(TRAINING)):
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file() and path.name != LOCK:
            path.unlink(missing_ok=True)


def set_threads(lab: Experiment, earlier: int | None = None) -> None:
    """Take as many threads as the run may have now, and say so where that is news."""
    if line := lab.training.threads(earlier):
        lab.output.reporter.say(line)


def announce(lab: Experiment) -> None:
    """Tell the user and the tracking store what the run works on."""
    dataset, tracker = lab.data.dataset, lab.output.tracker
    if dataset.about:
        lab.output.reporter.say(dataset.about)
    counts = {split: len(dataset.split(split)) for split in ("train", "val", "test")}
    tracker.log_dataset(dataset.name, dataset.fingerprint(), counts)
    if not lab.output.pictures:
        return
    pairs = lab.loaders().sample_picture_data(min(SAMPLES, counts["train"]))
    images, masks = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    path = lab.output.folder / "figures" / "augmented_samples.png"
    tracker.log_artifact(augmented_samples(images, masks, dataset.class_names, path, lab.about), "figures")
