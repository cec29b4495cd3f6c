"""How well a network segments, image by image: overlap, precision, recall and borders. Must not know of pruning.

All scores follow from counts of pixels, so that those of a split come from the sum of its images' counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import in_mode
from pruning_lab.lab.validation import confusion_matrix
from pruning_lab.training.compute import ComputeSettings

BAND = 0.02
"""Width of the band along a border, as a fraction of the image's diagonal, as Cheng et al. (2021) choose it."""

MEASURES = ("iou", "dice", "precision", "recall", "boundary_iou")


@dataclass(frozen=True)
class Counts:
    """Pixels of one image, or of several together.

    Attributes:
        confusion: int64 [classes, classes], true class in rows, predicted class in columns.
        shared, either: int64 [classes], pixels that the border bands of mask and prediction share, and those in either.
    """

    confusion: NDArray[np.int64]
    shared: NDArray[np.int64]
    either: NDArray[np.int64]

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.confusion + other.confusion, self.shared + other.shared, self.either + other.either)

    def scores(self) -> dict[str, NDArray[np.float64]]:
        """Each of `MEASURES` by class, float64 [classes]; NaN where it has no meaning.

        With TP, FP and FN of a class: IoU = TP / (TP + FP + FN), Dice = 2 TP / (2 TP + FP + FN), precision = TP / (TP +
        FP), recall = TP / (TP + FN). Boundary IoU = shared / either, see `band`.
        """
        hit = self.confusion.diagonal().astype(np.float64)
        true, predicted = self.confusion.sum(1), self.confusion.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "iou": hit / (true + predicted - hit),
                "dice": 2 * hit / (true + predicted),
                "precision": hit / predicted,
                "recall": hit / true,
                "boundary_iou": self.shared / self.either,
            }

    def means(self) -> dict[str, float]:
        """Each of `MEASURES` as its plain mean over the classes that occur in the masks; NaN if none does.

        A class that is there and was never predicted has no precision; it counts as 0.
        """
        present = self.confusion.sum(1) > 0
        if not present.any():
            return dict.fromkeys(MEASURES, math.nan)
        return {name: float(np.nan_to_num(values[present]).mean()) for name, values in self.scores().items()}


def counts_of(
    mask: NDArray[np.integer], prediction: NDArray[np.integer], classes: int, ignore_index: int | None
) -> Counts:
    """The counts of one image: class indices [H, W] of its mask and of what was predicted."""
    found, true = (torch.from_numpy(np.asarray(each, np.int64))[None] for each in (prediction, mask))
    confusion = confusion_matrix(found, true, classes, ignore_index).numpy()
    counted = np.ones(mask.shape, bool) if ignore_index is None else mask != ignore_index
    shared, either = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for index in range(classes):
        one, other = (band(each == index) & counted for each in (mask, prediction))
        shared[index], either[index] = (one & other).sum(), (one | other).sum()
    return Counts(confusion, shared, either)


def band(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of an area [H, W] that lie within 2 % of the image's diagonal (1 pixel at least) of its border.

    Boundary IoU of two areas is the IoU of their bands (B. Cheng, R. Girshick, P. Dollar, A. Berg, A. Kirillov,
    "Boundary IoU", CVPR 2021). Distance is counted in steps to any of eight neighbors, and the image's own edge is a
    border.
    """
    steps = max(1, round(BAND * math.hypot(*area.shape)))
    framed = np.pad(area.astype(np.uint8), 1)
    inner = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=steps)
    return area & (np.asarray(inner)[1:-1, 1:-1] == 0)


def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    settings: ComputeSettings,
    classes: int,
    ignore_index: int | None,
) -> Iterator[Counts]:
    """The counts of each image, in order.

    Args:
        batches: (image [N, C, H, W], mask int64 [N, H, W]), as validation gets them.

    Raises:
        LabError: the model has another number of classes than the masks.
    """
    settings.place(model)
    for image, mask in settings.bring(batches):
        found = class_indices(model, image, settings, classes).cpu().numpy()
        for true, predicted in zip(mask.cpu().numpy(), found, strict=True):
            yield counts_of(true, predicted, classes, ignore_index)


@torch.inference_mode()
def class_indices(model: nn.Module, image: Tensor, settings: ComputeSettings, classes: int) -> Tensor:
    """Predictions int64 [N, H, W] of normalized images [N, C, H, W] that lie on the device."""
    with in_mode(model, training=False):
        logits = settings.logits(model, image)
    if logits.shape[1] != classes:
        raise LabError(
            f"the model gives {logits.shape[1]} classes, the data has {classes}: they do not belong together"
        )
    return logits.argmax(1)
