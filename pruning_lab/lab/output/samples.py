"""Pictures of images beside masks and predictions. Draws arrays; loads no data and runs no model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from pruning_lab.lab.output.palette import class_colors, drawing

Pixels = NDArray[np.uint8]
Image = np.ndarray[Any, np.dtype[np.uint8 | np.float32]]
Labels = NDArray[np.integer]

SAMPLES_PER_BAND = 4
TILE_INCHES = 1.9
# Of the class color in an overlay; the rest is the image, so that misplaced borders show.
OVERLAY_SHARE = 0.5


def augmented_samples(images: Sequence[Image], masks: Sequence[Labels], class_names: Sequence[str], path: Path) -> Path:
    """Each image ([H, W, C], see `as_colors`) above itself with its mask ([H, W]) laid over it, four in a row.

    A mask value that is no class is drawn as ignored. Raises ValueError without any image.
    """
    _require(images, "images")
    columns = min(len(images), SAMPLES_PER_BAND)
    rows = 2 * -(-len(images) // columns)
    colors = class_colors(len(class_names))
    with drawing(path, columns * TILE_INCHES, rows * _tile_height(images) + 0.8) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for position, (image, mask) in enumerate(zip(images, masks, strict=True)):
            band, column = divmod(position, columns)
            shown = as_colors(image)
            grid[2 * band, column].imshow(shown)
            grid[2 * band + 1, column].imshow(_overlay(shown, mask, colors))
        figure.suptitle("Augmented training samples, and their masks", fontsize=11, fontweight="bold")
        _add_legend(figure, masks, class_names, colors)
    return path


def predictions(
    images: Sequence[Image],
    masks: Sequence[Labels],
    before: Sequence[Labels],
    after: Sequence[Labels],
    class_names: Sequence[str],
    ignore_index: int | None,
    path: Path,
) -> Path:
    """One row per image: image, mask, the base's prediction, the pruned model's.

    `images` are [H, W, C], see `as_colors`; masks and predictions are class indices [H, W]. Pixels whose mask is
    `ignore_index`, or no class at all, are drawn as ignored. Raises ValueError without any image.
    """
    _require(images, "images")
    colors = class_colors(len(class_names))
    shown = [np.where(mask == ignore_index, -1, mask.astype(np.int64)) for mask in masks]
    with drawing(path, 4 * TILE_INCHES, len(images) * _tile_height(images) + 0.9) as figure:
        grid = figure.subplots(len(images), 4, squeeze=False)
        for row, image, *labels in zip(grid, images, shown, before, after, strict=True):
            row[0].imshow(as_colors(image))
            for axes, label in zip(row[1:], labels, strict=True):
                axes.imshow(painted(label, colors), interpolation="nearest")
        for axes, title in zip(grid[0], ("image", "mask", "base", "pruned"), strict=True):
            axes.set_title(title, loc="center")
        for axes in grid.flat:
            axes.axis("off")
        _add_legend(figure, [*shown, *before, *after], class_names, colors)
    return path


def as_colors(image: Image) -> Pixels:
    """Any image [H, W, C] as a person can see it, uint8 [H, W, 3]; bytes of three channels are shown as they are.

    One channel is grey, two are red and green, and of more than three the first three are shown. Fractions are
    stretched from their 1st to their 99th percentile, because 0..1 is often far from filled.
    """
    colors = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3]
    if colors.shape[2] == 2:
        colors = np.concatenate([colors, np.zeros_like(colors[..., :1])], axis=2)
    if colors.dtype == np.uint8:
        return colors.astype(np.uint8, copy=False)
    low, high = np.percentile(colors, (1, 99))
    stretched = (colors - low) / max(high - low, np.finfo(np.float32).tiny)
    return (np.clip(stretched, 0, 1) * 255).round().astype(np.uint8)


def laid_over(image: Image, mask: Labels, classes: int) -> Pixels:
    """The colors of class indices [H, W] laid over an image [H, W, C], see `as_colors`; uint8 [H, W, 3]."""
    return _overlay(as_colors(image), mask, class_colors(classes))


def painted(mask: Labels, colors: Pixels) -> Pixels:
    """Class indices [H, W] as colors [H, W, 3]; what is no class gets the last color."""
    ignored = len(colors) - 1
    return colors[np.where((mask >= 0) & (mask < ignored), mask, ignored)]


def _require(items: Sequence[object], what: str) -> None:
    if len(items) == 0:
        raise ValueError(f"there are no {what} to draw")


def _tile_height(images: Sequence[Image]) -> float:
    """Inches that the tallest of the images needs when it is as wide as a tile."""
    return max(TILE_INCHES * image.shape[0] / image.shape[1] for image in images) + 0.06


def _overlay(image: Pixels, mask: Labels, colors: Pixels) -> Pixels:
    mixed = (1 - OVERLAY_SHARE) * image + OVERLAY_SHARE * painted(mask, colors)
    return mixed.round().astype(np.uint8)


def _add_legend(figure: Figure, masks: Sequence[Labels], class_names: Sequence[str], colors: Pixels) -> None:
    """Name the colors that occur, at the foot of the figure."""
    present = np.unique(np.concatenate([np.unique(mask).astype(np.int64) for mask in masks]))
    entries = [
        Patch(facecolor=colors[index] / 255, edgecolor="none", label=name)
        for index, name in enumerate(class_names)
        if index in present
    ]
    if ((present < 0) | (present >= len(class_names))).any():
        entries.append(Patch(facecolor=colors[-1] / 255, edgecolor="none", label="ignored"))
    longest = max(len(str(entry.get_label())) for entry in entries)
    columns = max(1, int(figure.get_figwidth() / (0.65 + 0.075 * longest)))
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, fontsize=9)
