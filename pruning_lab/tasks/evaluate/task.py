"""The task `evaluate`: scores of a run's model and of its base, as files and pictures. Knows no pruning."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from torch import nn

from pruning_lab.checkpoint.folder import load
from pruning_lab.common.errors import LabError
from pruning_lab.data import Augmentation, Loaders, SegmentationData
from pruning_lab.data.batches import Normalizer, stacked
from pruning_lab.lab.evaluation import class_indices
from pruning_lab.lab.evaluation import evaluate as counts_of_batches
from pruning_lab.lab.input_facts import InputFacts, checkpoint_folder
from pruning_lab.lab.output.console import ConsoleReporter, Reporter
from pruning_lab.lab.output.run_folder import about_run
from pruning_lab.tasks.config import build, plain
from pruning_lab.tasks.evaluate.pictures import Shown, confusion_matrices, worst_images
from pruning_lab.tasks.evaluate.sources import base_of, config_of, data_in_folder, data_of_run, metrics_of, trusted
from pruning_lab.tasks.evaluate.tables import Judged, class_table, scores_of, write_tables
from pruning_lab.tasks.outcome import Outcome
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.threads import Threads

PRUNED, BASE = "pruned", "base"


def evaluate(
    config: DictConfig,
    folder: Path,
    choices: Mapping[str, Any],
    run: str,
    split: str = "test",
    root: str | None = None,
    reading: Mapping[str, Any] | None = None,
    base: bool = True,
    worst: int = 6,
    trust: bool = False,
) -> Outcome:
    """Evaluate a run's model; returns its mean IoU. Each argument is a key of conf/task/evaluate.yaml.

    Raises:
        LabError: the folder is no finished run, or the images and masks can't be used.
    """
    if worst < 0:
        raise LabError(f"task.worst={worst} must be 0 or more")
    Threads(config.threads)()
    reporter, place = ConsoleReporter(), Path(run)
    checkpoint, own = checkpoint_folder(place), config_of(place)
    facts, allowed = InputFacts.of_checkpoint(checkpoint), trusted(own, trust)
    models = {PRUNED: load(checkpoint, allowed)}
    if base and (found := base_of(place, checkpoint, own, config.bases, allowed)) is not None:
        models[BASE] = found
    if root is None:
        data = data_of_run(own, facts)
    else:
        data = data_in_folder(Path(root), plain(own.data), plain(reading or {}), facts)
    data.split(split)
    settings = ComputeSettings(config.device, own.precision, own.channels_last)
    loaders: Loaders = build(own.loader)(data=data, augmentation=Augmentation([]), seed=0)
    judged = {name: _judged(name, model, loaders, split, settings, reporter) for name, model in models.items()}
    own_scores = scores_of(judged, metrics_of(own, config))
    _write(folder, data, split, judged, own_scores, _Again(models, data, settings), worst, about_run(place))
    reporter.show(class_table(judged, data.class_names))
    for name in own_scores[PRUNED]:
        reporter.say(f"{name}: " + ", ".join(f"{model} {scores[name]:.4f}" for model, scores in own_scores.items()))
    if base and BASE not in models:
        reporter.say(f"the base is in no folder of bases ({own.get('bases', config.bases)}): give it by bases=FOLDER")
    where = f"{split} of {data.name}" if root is None else root
    reporter.say(f"evaluated on {len(data.split(split))} images ({where}); tables and figures are in {folder}")
    return Outcome(judged[PRUNED].total.means()["iou"])


def _judged(
    name: str, model: nn.Module, loaders: Loaders, split: str, settings: ComputeSettings, reporter: Reporter
) -> Judged:
    data, found = loaders.data, []
    with reporter.task(f"evaluate {name}", len(data.split(split))) as task:
        batches = loaders.eval_loader(split)
        for counts in counts_of_batches(model, batches, settings, len(data.class_names), data.ignore_index):
            found.append(counts)
            task.advance()
    judged = Judged(tuple(found))
    if not judged.total.confusion.any():
        raise LabError(f"{split} of {data.name} has no labelled pixel: check ignore_index")
    return judged


class _Again:
    """Predicts single images once more, for pictures."""

    def __init__(self, models: Mapping[str, nn.Module], data: SegmentationData, settings: ComputeSettings) -> None:
        self._models, self._classes, self._settings = models, len(data.class_names), settings
        self._normalize = Normalizer(data.mean, data.std)

    def __call__(self, image: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Model -> class indices [H, W] of an image [H, W, C]."""
        pixels, _ = self._settings.move(*self._normalize(*stacked([(image, mask)])))
        find = partial(class_indices, image=pixels, settings=self._settings, classes=self._classes)
        return {name: find(model)[0].cpu().numpy() for name, model in self._models.items()}


def _write(
    folder: Path,
    data: SegmentationData,
    split: str,
    judged: Mapping[str, Judged],
    own_scores: Mapping[str, Mapping[str, float]],
    again: _Again,
    worst: int,
    about: str,
) -> None:
    images = data.split(split)
    labels = [images.label(index) for index in range(len(images))]
    write_tables(folder, judged, labels, data.class_names, own_scores)
    totals = {name: each.total for name, each in judged.items()}
    confusion_matrices(totals, data.class_names, folder / "figures" / "confusion.png", about)
    iou = {name: np.array([counts.means()["iou"] for counts in each.images]) for name, each in judged.items()}
    # An image of which nothing counts has no IoU.
    order = [int(index) for index in np.argsort(iou[PRUNED]) if not np.isnan(iou[PRUNED][index])][:worst]
    shown = []
    for index in order:
        image, mask = images[index]
        scores = {name: float(values[index]) for name, values in iou.items()}
        shown.append(Shown(labels[index], image, mask, again(image, mask), scores))
    if shown:
        worst_images(shown, data.class_names, data.ignore_index, folder / "figures" / "worst.png", about)
