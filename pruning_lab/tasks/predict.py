"""The task `predict`: masks of a user's images, by the model of a run, as files. Knows no pruning and no training."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically
from pruning_lab.data.formats.contract import Stored
from pruning_lab.lab.input_facts import InputFacts, checkpoint_folder
from pruning_lab.lab.output.console import ConsoleReporter, Reporter, Task
from pruning_lab.lab.output.run_folder import read_config
from pruning_lab.lab.output.samples import laid_over
from pruning_lab.lab.prediction import Prediction, Predictor
from pruning_lab.tasks.image_search import Found, image_files, pages_of, reading_of, stored_pixels
from pruning_lab.tasks.mask_values import MaskWriter, as_png, mask_writer
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.threads import Threads

CONFIG = "config.yaml"


def predict(
    config: DictConfig,
    folder: Path,
    choices: Mapping[str, Any],
    run: str,
    images: str,
    output: str | None = None,
    values: str = "classes",
    overlays: bool = True,
    probabilities: bool = False,
    resize: str = "auto",
    tile: int = 1024,
    overlap: int = 128,
    batch_size: int = 8,
    trust: bool = False,
) -> None:
    """Write the masks of images; each argument is a key of conf/task/predict.yaml, which says what it means.

    Raises:
        LabError: no image is found, the model can't be loaded, or some images could not be predicted; each of these is
            told in a line of its own, and the masks of the others are written.
    """
    Threads(config.threads)()
    reporter = ConsoleReporter()
    files = image_files(images)
    model, data = checkpoint_folder(run), data_of_run(run)
    predictor = Predictor.from_folder(
        model,
        ComputeSettings(config.device, config.precision, config.channels_last),
        trust,
        resize=resize,
        tile=tile,
        overlap=overlap,
        batch_size=batch_size,
    )
    facts = predictor.facts
    writer = mask_writer(values, data)
    place = _Output(Path(output) if output else folder, writer, facts, overlays, probabilities)
    with reporter.task("predict", len(files)) as task:
        source = _Images(files, facts, data, reporter, task)
        # Names and images of a batch are read ahead of its predictions.
        for found in predictor.predict_all(source.pixels(), probabilities):
            place.write(*source.waiting.pop(0), found)
    reporter.say(place.in_words(writer, facts))
    if source.bad:
        raise LabError(f"{source.bad} of {len(files)} files gave no mask, see the lines above: mend or leave them out")


def data_of_run(run: str) -> Mapping[str, Any]:
    """The group `data` of a run's config; empty for a model that was saved alone."""
    path = checkpoint_folder(run).parent / CONFIG
    data = read_config(path).get("data") if path.is_file() else None
    return data if isinstance(data, Mapping) else {}


@dataclass
class _Images:
    """The images of files, one by one; a file that can't be used is told and left out.

    Attributes:
        waiting: pages that were read and not predicted yet, with their pixels.
        bad: files that were left out.
    """

    files: list[tuple[Path, str]]
    facts: InputFacts
    data: Mapping[str, Any]
    reporter: Reporter
    task: Task
    waiting: list[tuple[Found, Stored]] = field(default_factory=list)
    bad: int = 0

    def pixels(self) -> Iterator[Stored]:
        """Yield the pixels [H, W, C] of every page, as they are stored."""
        reading, channels = reading_of(self.data), len(self.facts.mean)
        for path, name in self.files:
            try:
                for found in pages_of(path, name, reading):
                    pixels = self.facts.pixels(stored_pixels(found, reading, channels))
                    self.waiting.append((found, pixels))
                    yield pixels
            except LabError as problem:
                text = str(problem)
                self.reporter.warn(text if str(path) in text else f"{path}: {text}")
                self.bad += 1
            self.task.advance()


@dataclass
class _Output:
    """Writes what was predicted, each kind of file into a folder of its own."""

    folder: Path
    writer: MaskWriter
    facts: InputFacts
    overlays: bool
    probabilities: bool
    written: int = 0

    def write(self, found: Found, pixels: Stored, prediction: Prediction) -> None:
        """Write everything of one image."""
        self.writer.write(prediction.mask, self._path("masks", found, ".png"))
        if self.overlays:
            classes = max(len(self.facts.class_names), int(prediction.mask.max()) + 1)
            shown: NDArray[np.uint8] = laid_over(pixels, prediction.mask, classes)
            write_atomically(self._path("overlays", found, ".png"), as_png(shown))
        if prediction.probabilities is not None:
            content = io.BytesIO()
            np.save(content, prediction.probabilities)
            write_atomically(self._path("probabilities", found, ".npy"), content.getvalue())
        self.written += 1

    def _path(self, kind: str, found: Found, ending: str) -> Path:
        return self.folder / kind / f"{found.name}{ending}"

    def in_words(self, writer: MaskWriter, facts: InputFacts) -> str:
        """One line: what was written, what it means, and where it is."""
        kinds = ["masks"] + ["overlays"] * self.overlays + ["probabilities"] * self.probabilities
        what = f"{' and '.join(kinds)} of {self.written} image{'s' if self.written != 1 else ''}"
        return f"wrote {what} ({writer.in_words(facts.class_names)}) to {self.folder}"
