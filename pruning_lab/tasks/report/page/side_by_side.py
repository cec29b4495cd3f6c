"""What the methods of a comparison predict for the validation images on which they differ most.

Loads the runs' models and their data; scores and trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pruning_lab.data import SegmentationData
from pruning_lab.data.batches import Normalizer, stacked
from pruning_lab.lab.evaluation import class_indices, counts_of
from pruning_lab.lab.input_facts import InputFacts, checkpoint_folder
from pruning_lab.lab.output.run_folder import Run
from pruning_lab.tasks.evaluate.sources import base_of_run, config_of, data_of_run, model_of_run
from pruning_lab.training.compute import ComputeSettings

LOOKED_AT = 64
"""Validation images, evenly spread, among which those are sought on which methods differ."""

BATCH = 8

BASE = "base"


@dataclass(frozen=True)
class Prediction:
    """A model's class indices [H, W] for an image, and its IoU there."""

    model: str
    found: NDArray[np.uint8]
    iou: float


@dataclass(frozen=True)
class Contrast:
    """An image [H, W, C], its mask [H, W], what each model made of it, and how far these differ, in 0..1."""

    label: str
    image: NDArray[Any]
    mask: NDArray[np.uint8]
    predictions: list[Prediction]
    difference: float


@dataclass(frozen=True)
class SideBySide:
    """The images on which methods differ most, and what their classes are called."""

    contrasts: list[Contrast]
    class_names: tuple[str, ...]
    ignore_index: int | None
    looked_at: int


def side_by_side(runs: Mapping[str, Run], shown: int, device: str, bases: str) -> SideBySide:
    """Predict with a run of each method, and pick the images on which they differ most.

    Args:
        runs: method -> its run; all from one base.
        shown: how many images.
        device: where networks run.
        bases: a folder of trained bases, besides the runs' own.

    Raises:
        LabError: a model, or the data, is not there any more.
    """
    first = next(iter(runs.values()))
    config = config_of(first.folder)
    data = data_of_run(config, InputFacts.of_checkpoint(checkpoint_folder(first.folder)))
    settings = ComputeSettings(device, config.precision, config.channels_last)
    models = {method: model_of_run(run.folder) for method, run in runs.items()}
    base = base_of_run(first.folder, bases)
    models = models if base is None else {BASE: base, **models}
    count = min(LOOKED_AT, len(data.val))
    places = [int(place) for place in np.arange(count) * len(data.val) // max(count, 1)]
    found = {method: _predictions(each, data, places, settings) for method, each in models.items()}
    judged = [method for method in found if method != BASE] if len(runs) > 1 else list(found)
    gaps = [
        disagreement([found[method][at] for method in judged], data.val[place][1], data.ignore_index)
        for at, place in enumerate(places)
    ]
    order = sorted(range(count), key=lambda at: -gaps[at])[:shown]
    contrasts = [
        _contrast(data, places[at], gaps[at], {name: each[at] for name, each in found.items()}) for at in order
    ]
    return SideBySide(contrasts, data.class_names, data.ignore_index, count)


def disagreement(found: Sequence[NDArray[np.uint8]], mask: NDArray[np.uint8], ignore_index: int | None) -> float:
    """How often two models, drawn by chance, give a pixel different classes; the mean over the pixels that count.

    Args:
        found: class indices [H, W] of each model.
        mask: class indices [H, W].

    Returns:
        from 0 (all agree; also for a single model) to 1.
    """
    count = len(found)
    counted = np.ones(mask.shape, bool) if ignore_index is None else mask != ignore_index
    if count < 2 or not counted.any():
        return 0.0
    pixels = np.stack([each[counted] for each in found])  # [models, pixels]
    alike = sum(((pixels == index).sum(0).astype(np.int64) ** 2 for index in np.unique(pixels)), np.int64(0))
    pairs = (np.asarray(alike) - count) / (count * (count - 1))
    return float(1 - pairs.mean())


def _predictions(
    model: nn.Module, data: SegmentationData, places: Iterable[int], settings: ComputeSettings
) -> list[NDArray[np.uint8]]:
    settings.place(model)
    normalize, found = Normalizer(data.mean, data.std), []
    wanted = list(places)
    for start in range(0, len(wanted), BATCH):
        pairs = [data.val[place] for place in wanted[start : start + BATCH]]
        pixels, _ = settings.move(*normalize(*stacked(pairs)))
        indices = class_indices(model, pixels, settings, len(data.class_names))
        found += list(indices.to(torch.uint8).cpu().numpy())
    return found


def _contrast(
    data: SegmentationData, place: int, difference: float, found: Mapping[str, NDArray[np.uint8]]
) -> Contrast:
    image, mask = data.val[place]
    classes = len(data.class_names)
    predictions = [
        Prediction(name, each, counts_of(mask, each, classes, data.ignore_index).means()["iou"])
        for name, each in found.items()
    ]
    return Contrast(data.val.label(place), image, mask, predictions, difference)
