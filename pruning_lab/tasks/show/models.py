"""The models of finished runs, side by side on one image. Loads models; knows no web page and trains nothing."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pruning_lab.common.errors import LabError
from pruning_lab.data.formats import IMAGE_SUFFIXES, suffix_of
from pruning_lab.data.formats.contract import Stored
from pruning_lab.lab.input_facts import InputFacts, checkpoint_folder
from pruning_lab.lab.output.run_folder import SNAPSHOTS, Run
from pruning_lab.lab.prediction import Predictor
from pruning_lab.tasks.evaluate.sources import base_of_run, model_of_run
from pruning_lab.tasks.image_search import pages_of, reading_of, stored_pixels
from pruning_lab.training.compute import ComputeSettings

BASE, PRUNED = "base", "pruned"
KEPT_MODELS = 6
"""Models that stay loaded: base and pruned model of a few runs, and the snapshots that a slider passes."""

TIMED_PASSES = 5
TIMED_SECONDS = 3.0
"""No further pass is timed after so long, so that a large image answers."""


@dataclass(frozen=True)
class Snapshot:
    """A model of a run that can be looked at: where it is, after which step it was kept, what it costs."""

    folder: Path
    step: int
    label: str


@dataclass(frozen=True)
class Found:
    """What one model says of an image: class indices [H, W], and the median seconds of a prediction."""

    name: str
    mask: NDArray[np.uint8]
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """An image [H, W, C] as it is stored, and what each model makes of it; the base comes first where it is there."""

    pixels: Stored
    found: list[Found]
    class_names: tuple[str, ...]
    pages: int


class Models:
    """Loads the models of runs as they are asked for, and predicts with one pair at a time.

    Args:
        runs: finished runs.
        settings: where and how precisely networks run.
        bases: a folder of trained bases, besides the runs' own.
        trust: build any class that a run names.
    """

    def __init__(self, runs: Sequence[Run], settings: ComputeSettings, bases: str, trust: bool = False) -> None:
        self.runs = list(runs)
        self._settings, self._bases, self._trust = settings, bases, trust
        self._loaded: OrderedDict[tuple[str, str], Predictor | None] = OrderedDict()
        self._turn = threading.Lock()

    def snapshots(self, place: int) -> list[Snapshot]:
        """The models of a run that the slider passes, by step; only the pruned one where no others are kept.

        Raises:
            LabError: the run's model is not there any more.
        """
        run = self.runs[place]
        kept = checkpoint_folder(run.folder)
        folders = {
            int(number): folder
            for folder in (run.folder / SNAPSHOTS).glob("step_*")
            if (number := folder.name.removeprefix("step_")).isdigit()
        }
        chosen = _step_of(run)
        folders[chosen] = kept
        rows = {int(row["step"]): row for row in run.history}
        return [
            Snapshot(folder, step, _label(step, rows.get(step, {}), step == chosen))
            for step, folder in sorted(folders.items())
        ]

    def compare(self, place: int, step: int | None, content: bytes, name: str) -> Comparison:
        """Predict an image file with a run's base, where that is still kept, and one of its models.

        Args:
            place: of the run among `runs`.
            step: of the snapshot; None is the model that the run kept.
            content: of the file; of several pages the first counts.
            name: of the file, whose ending tells its format.

        Raises:
            LabError: the run or step is unknown, the file is no image that fits, or the model can't be loaded.
        """
        if not 0 <= place < len(self.runs):
            raise LabError(f"there is no run {place}: there are {len(self.runs)}, counted from 0")
        run, snapshots = self.runs[place], self.snapshots(place)
        wanted = _step_of(run) if step is None else step
        snapshot = next((each for each in snapshots if each.step == wanted), None)
        if snapshot is None:
            steps = ", ".join(str(each.step) for each in snapshots)
            raise LabError(f"step {step} of {run.folder} is not kept: use one of {steps}")
        with self._turn:
            base, model = self._base(run), self._model(run, snapshot)
            pixels, pages = _read(content, name, run, model.facts)
            models = {PRUNED: model} if base is None else {BASE: base, PRUNED: model}
            return Comparison(pixels, in_turns(models, pixels), model.facts.class_names, pages)

    def _model(self, run: Run, snapshot: Snapshot) -> Predictor:
        found = self._once((str(snapshot.folder), ""), lambda: self._loaded_from(run, snapshot.folder))
        assert found is not None
        return found

    def _loaded_from(self, run: Run, folder: Path) -> Predictor:
        model = model_of_run(run.folder, folder, self._trust)
        return Predictor(model, InputFacts.of_checkpoint(folder), self._settings)

    def _base(self, run: Run) -> Predictor | None:
        return self._once((BASE, run.cards.base_hash), lambda: self._found_base(run))

    def _found_base(self, run: Run) -> Predictor | None:
        base = base_of_run(run.folder, self._bases, self._trust)
        facts = InputFacts.of_checkpoint(checkpoint_folder(run.folder))
        return None if base is None else Predictor(base, facts, self._settings)

    def _once(self, key: tuple[str, str], load_it: Callable[[], Predictor | None]) -> Predictor | None:
        """A model that was loaded before, or is now; those that were not asked for longest leave."""
        if key not in self._loaded:
            self._loaded[key] = load_it()
        self._loaded.move_to_end(key)
        while len(self._loaded) > KEPT_MODELS:
            self._loaded.popitem(last=False)
        return self._loaded[key]


def in_turns(models: Mapping[str, Predictor], pixels: Stored) -> list[Found]:
    """Predict once with each to warm up, then in turns, so that a busy moment of the machine meets all alike."""
    started = time.perf_counter()
    masks = {name: model(pixels).mask for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(TIMED_PASSES):
        if number and time.perf_counter() - started > TIMED_SECONDS:
            break
        for name, model in models.items():
            before = time.perf_counter()
            model(pixels)
            seconds[name].append(time.perf_counter() - before)
    return [Found(name, masks[name], statistics.median(seconds[name])) for name in models]


def _read(content: bytes, name: str, run: Run, facts: InputFacts) -> tuple[Stored, int]:
    """The first image [H, W, C] of a file's content, and how many there are; read as the run's own images were."""
    suffix = suffix_of(Path(name))
    if suffix not in IMAGE_SUFFIXES:
        kinds = ", ".join(sorted(each[1:] for each in IMAGE_SUFFIXES))
        raise LabError(f"{name} is no image file that can be read: give one of {kinds}")
    data = run.config.get("data")
    reading = reading_of(data if isinstance(data, Mapping) else {})
    with tempfile.TemporaryDirectory(prefix="pruning_lab_") as folder:
        path = Path(folder) / f"image{suffix}"
        path.write_bytes(content)
        try:
            pages = list(pages_of(path, "image", reading))
            return facts.pixels(stored_pixels(pages[0], reading, len(facts.mean))), len(pages)
        except LabError as error:
            raise LabError(str(error).replace(str(path), name)) from error


def _step_of(run: Run) -> int:
    """After which step the model was kept: its card ends with it, and where not, it is the last one."""
    word = run.cards.pruned.name.rpartition("(step ")[2].rstrip(")")
    return int(word) if word.isdigit() else int(run.history[-1]["step"])


def _label(step: int, row: Mapping[str, float], kept: bool) -> str:
    parts = [f"step {step}"]
    if "resources/flops_fraction" in row:
        parts.append(f"{100 * row['resources/flops_fraction']:.1f} % of FLOPs")
    if "val/iou" in row:
        parts.append(f"validation IoU {100 * row['val/iou']:.1f} %")
    return ", ".join(parts) + (" (kept)" if kept else "")
