"""Pictures of an evaluation: the confusion matrix, and the worst images with where they are wrong. Runs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Patch
from numpy.typing import NDArray

from pruning_lab.lab.evaluation import Counts
from pruning_lab.lab.output.palette import BLUE, DARK, IGNORED_COLOR, ORANGE, VERMILION, class_colors, drawing
from pruning_lab.lab.output.samples import Image, Labels, Pixels, as_colors, painted

MOST_NUMBERS = 12
"""Classes of which a matrix still has room for its numbers."""
TILE_INCHES = 2.0
DIMMED = 0.35
"""Of an image's brightness where nothing is wrong, so that errors stand out."""
ERRORS = {"missed": BLUE, "too much": ORANGE, "another class": VERMILION, "ignored": IGNORED_COLOR}
"""A class taken for class 0 (mostly the background), class 0 taken for another, and one of the others for another."""


@dataclass(frozen=True)
class Shown:
    """An image [H, W, C], its mask [H, W], what each model made of it, and the IoU of each."""

    label: str
    image: Image
    mask: Labels
    predictions: Mapping[str, Labels]
    iou: Mapping[str, float]


def confusion_matrices(totals: Mapping[str, Counts], class_names: Sequence[str], path: Path) -> Path:
    """For each model: of the pixels of a true class (row), the percentage taken for each class (column)."""
    count = len(class_names)
    side = max(2.6, 0.5 * count)
    with drawing(path, len(totals) * (side + 1.6), side + 1.2) as figure:
        panels = figure.subplots(1, len(totals), squeeze=False)[0]
        for axes, (model, counts) in zip(panels, totals.items(), strict=True):
            rows = counts.confusion.sum(1, keepdims=True)
            shares = 100 * counts.confusion / np.maximum(rows, 1)
            axes.imshow(shares, cmap="cividis", vmin=0, vmax=100)
            axes.grid(visible=False)
            axes.set_title(f"{model}: % of a class's pixels")
            axes.set_xticks(range(count), class_names, rotation=45, ha="right")
            axes.set_yticks(range(count), class_names)
            axes.set_xlabel("predicted")
            axes.set_ylabel("true")
            for row, column in np.ndindex(count, count) if count <= MOST_NUMBERS else ():
                shade = "white" if shares[row, column] < 60 else DARK
                text = f"{shares[row, column]:.1f}" if rows[row] else ""
                axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=9)
    return path


def worst_images(worst: Sequence[Shown], class_names: Sequence[str], ignore_index: int | None, path: Path) -> Path:
    """One row per image: image, mask, and for each model its prediction and where it is wrong."""
    models, colors = list(worst[0].predictions), class_colors(len(class_names))
    columns = 2 + 2 * len(models)
    tall = max(TILE_INCHES * each.mask.shape[0] / each.mask.shape[1] for each in worst) + 0.35
    with drawing(path, columns * TILE_INCHES, len(worst) * tall + 0.6) as figure:
        grid = figure.subplots(len(worst), columns, squeeze=False)
        for row, shown in zip(grid, worst, strict=True):
            true = np.where(shown.mask == ignore_index, -1, shown.mask.astype(np.int64))
            panels = [(as_colors(shown.image), shown.label[-28:]), (painted(true, colors), "mask")]
            for model in models:
                found = shown.predictions[model]
                panels.append((painted(found, colors), f"{model}: IoU {shown.iou[model]:.3f}"))
                panels.append((error_map(shown.image, true, found), f"{model}: errors"))
            for axes, (picture, title) in zip(row, panels, strict=True):
                axes.imshow(picture, interpolation="nearest")
                axes.set_title(title, loc="left", fontsize=8, fontweight="normal")
                axes.axis("off")
        entries = [Patch(facecolor=color, label=name) for name, color in ERRORS.items()]
        figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=9)
    return path


def error_map(image: Image, mask: NDArray[np.int64], prediction: Labels) -> Pixels:
    """The image in dim gray, and in the colors of `ERRORS` where the prediction is wrong; uint8 [H, W, 3].

    Args:
        image: [H, W, C].
        mask, prediction: class indices [H, W]; a mask's pixels below 0 do not count.
    """
    gray = DIMMED * as_colors(image).mean(axis=2, keepdims=True)
    picture = np.repeat(gray, 3, axis=2)
    wrong = (mask >= 0) & (mask != prediction)
    places = {
        "missed": wrong & (prediction == 0),
        "too much": wrong & (mask == 0),
        "another class": wrong & (mask > 0) & (prediction > 0),
        "ignored": mask < 0,
    }
    for name, place in places.items():
        picture[place] = 255 * np.array(mpl.colors.to_rgb(ERRORS[name]))
    return picture.round().astype(np.uint8)
