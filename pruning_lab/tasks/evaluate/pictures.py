"""Pictures of an evaluation: the confusion matrix, and the worst images with where they are wrong. Runs no model.

`about` is the line that names the run on its picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch

from pruning_lab.lab.evaluation import Counts
from pruning_lab.lab.output.palette import DARK, class_colors, drawing
from pruning_lab.lab.output.samples import ERRORS, Image, Labels, as_colors, error_map, painted

MOST_NUMBERS = 12
"""Classes of which a matrix still has room for its numbers."""
TILE_INCHES = 2.0


@dataclass(frozen=True)
class Shown:
    """An image [H, W, C], its mask [H, W], what each model made of it, and the IoU of each."""

    label: str
    image: Image
    mask: Labels
    predictions: Mapping[str, Labels]
    iou: Mapping[str, float]


def confusion_matrices(totals: Mapping[str, Counts], class_names: Sequence[str], path: Path, about: str = "") -> Path:
    """For each model: of the pixels of a true class (row), the percentage taken for each class (column)."""
    count = len(class_names)
    side = max(2.6, 0.5 * count)
    with drawing(path, len(totals) * (side + 1.6), side + 1.2, about) as figure:
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


def worst_images(
    worst: Sequence[Shown], class_names: Sequence[str], ignore_index: int | None, path: Path, about: str = ""
) -> Path:
    """One row per image: image, mask, and for each model its prediction and where it is wrong."""
    models, colors = list(worst[0].predictions), class_colors(len(class_names))
    columns = 2 + 2 * len(models)
    tall = max(TILE_INCHES * each.mask.shape[0] / each.mask.shape[1] for each in worst) + 0.35
    with drawing(path, columns * TILE_INCHES, len(worst) * tall + 0.6, about) as figure:
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
