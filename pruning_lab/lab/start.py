"""How a run opens: in the tracking store, with the data it works on and a picture of it. Knows nothing of pruning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pruning_lab.lab.experiment import Experiment, OutputPart
from pruning_lab.lab.output.samples import augmented_samples

SAMPLES = 8
"""Augmented images in the picture at the start of a run."""


@contextmanager
def tracked(output: OutputPart) -> Iterator[None]:
    """Open the run in the tracking store, and close it with what became of it."""
    output.tracker.start(output.root, output.parameters, output.tags)
    try:
        yield
    except KeyboardInterrupt:
        output.tracker.finish("KILLED")
        raise
    except BaseException:
        output.tracker.finish("FAILED")
        raise
    output.tracker.finish("FINISHED")


def announce(lab: Experiment) -> None:
    """Tell the tracking store what the run works on."""
    dataset, tracker = lab.data.dataset, lab.output.tracker
    counts = {split: len(dataset.split(split)) for split in ("train", "val", "test")}
    tracker.log_dataset(dataset.name, dataset.fingerprint(), counts)
    pairs = lab.loaders().sample_picture_data(min(SAMPLES, counts["train"]))
    images, masks = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    path = lab.output.folder / "figures" / "augmented_samples.png"
    tracker.log_artifact(augmented_samples(images, masks, dataset.class_names, path), "figures")
