"""Pictures of images beside masks and predictions. Draws arrays; loads no data and runs no model."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from pruning_lab.lab.output.palette import BLUE, IGNORED_COLOR, ORANGE, VERMILION, class_colors, drawing

Pixels = NDArray[np.uint8]
Image = np.ndarray[Any, np.dtype[np.uint8 | np.float32]]
Labels = NDArray[np.integer]

SAMPLES_PER_BAND = 4
TILE_INCHES = 1.9
TILE_GAP = 0.04
"""Between two pictures, of their width."""
# Of the class color in an overlay; the rest is the image, so that misplaced borders show.
OVERLAY_SHARE = 0.5
DIMMED = 0.35
"""Of an image's brightness where nothing is wrong, so that errors stand out."""
ERRORS = {"missed": BLUE, "too much": ORANGE, "another class": VERMILION, "ignored": IGNORED_COLOR}
"""A class taken for class 0 (mostly the background), class 0 taken for another, and one of the others for another."""


def augmented_samples(
    images: Sequence[Image], masks: Sequence[Labels], class_names: Sequence[str], path: Path, about: str = ""
) -> Path:
    """Each image ([H, W, C], see `as_colors`) above itself with its mask ([H, W]) laid over it, four in a row.

    A mask value that is no class is drawn as ignored; `about` names the run. Raises ValueError without any image.
    """
    _require(images, "images")
    columns = min(len(images), SAMPLES_PER_BAND)
    rows = 2 * -(-len(images) // columns)
    colors = class_colors(len(class_names))
    with drawing(path, columns * TILE_INCHES, rows * _tile_height(images) + 0.8, about) as figure:
        bands = figure.subplots(rows, 1, squeeze=False)[:, 0]
        shown = [as_colors(image) for image in images]
        laid = [_overlay(image, mask, colors) for image, mask in zip(shown, masks, strict=True)]
        for band in range(rows // 2):
            part = slice(band * columns, (band + 1) * columns)
            _strip(bands[2 * band], [(tile, "") for tile in shown[part]], columns)
            _strip(bands[2 * band + 1], [(tile, "") for tile in laid[part]], columns)
        bands[0].set_title("Augmented training samples, and their masks")
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
    scores: Sequence[tuple[float, float]] | None = None,
    about: str = "",
) -> Path:
    """One row per image: image, mask, and of base and pruned model the prediction, and where it is wrong.

    `images` are [H, W, C], see `as_colors`; masks and predictions are class indices [H, W]. Pixels whose mask is
    `ignore_index`, or no class at all, are drawn as ignored. `scores` are the IoU of base and pruned model on each
    image; `about` names the run. Raises ValueError without any image.
    """
    _require(images, "images")
    colors = class_colors(len(class_names))
    shown = [with_ignored(mask, len(class_names), ignore_index) for mask in masks]
    told = scores if scores is not None else [None] * len(images)
    with drawing(path, 6 * TILE_INCHES, len(images) * (_tile_height(images) + 0.2) + 0.9, about) as figure:
        rows = figure.subplots(len(images), 1, squeeze=False)[:, 0]
        for axes, image, mask, base, pruned, iou in zip(rows, images, shown, before, after, told, strict=True):
            panels = [(as_colors(image), "image"), (painted(mask, colors), "mask")]
            for place, (model, found) in enumerate((("base", base), ("pruned", pruned))):
                score = "" if iou is None else f": IoU {100 * iou[place]:.1f} %"
                panels.append((painted(found, colors), f"{model}{score}"))
                panels.append((error_map(image, mask, found), f"{model}: errors"))
            _strip(axes, panels, len(panels))
        _add_legend(figure, [*shown, *before, *after], class_names, colors, {"missed", "too much", "another class"})
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


def with_ignored(mask: Labels, classes: int, ignore_index: int | None) -> NDArray[np.int64]:
    """A mask [H, W] with -1 where a pixel does not count, or is of no class."""
    wide = mask.astype(np.int64)
    return np.where((wide == ignore_index) | (wide >= classes), -1, wide)


def painted(mask: Labels, colors: Pixels) -> Pixels:
    """Class indices [H, W] as colors [H, W, 3]; what is no class gets the last color."""
    ignored = len(colors) - 1
    return colors[np.where((mask >= 0) & (mask < ignored), mask, ignored)]


def _strip(axes: Axes, tiles: Sequence[tuple[Pixels, str]], room: int) -> None:
    """Pictures [H, W, 3] side by side with a title above each, in one set of axes: many sets take long to lay out.

    Args:
        room: for how many there is to be room; all are as wide as the first.
    """
    height, width = tiles[0][0].shape[:2]
    step = width * (1 + TILE_GAP)
    for place, (picture, title) in enumerate(tiles):
        left = place * step
        # What is no photograph has colors with a meaning: none must be mixed from two.
        smooth = None if title in ("", "image") else "nearest"
        axes.imshow(picture, extent=(left, left + width, height, 0), interpolation=smooth)
        if title:
            axes.text(left, -0.03 * height, title, fontsize=9, fontweight="bold", va="bottom")
    axes.set_xlim(0, room * step - width * TILE_GAP)
    axes.set_ylim(height, 0)
    axes.axis("off")


def _require(items: Sequence[object], what: str) -> None:
    if len(items) == 0:
        raise ValueError(f"there are no {what} to draw")


def _tile_height(images: Sequence[Image]) -> float:
    """Inches that the tallest of the images needs when it is as wide as a tile."""
    return max(TILE_INCHES * image.shape[0] / image.shape[1] for image in images) + 0.06


def _overlay(image: Pixels, mask: Labels, colors: Pixels) -> Pixels:
    mixed = (1 - OVERLAY_SHARE) * image + OVERLAY_SHARE * painted(mask, colors)
    return mixed.round().astype(np.uint8)


def _add_legend(
    figure: Figure,
    masks: Sequence[Labels],
    class_names: Sequence[str],
    colors: Pixels,
    errors: Collection[str] = (),
) -> None:
    """Name the colors that occur, at the foot of the figure, and those of some errors."""
    present = np.unique(np.concatenate([np.unique(mask).astype(np.int64) for mask in masks]))
    entries = [
        Patch(facecolor=colors[index] / 255, edgecolor="none", label=name)
        for index, name in enumerate(class_names)
        if index in present
    ]
    if ((present < 0) | (present >= len(class_names))).any():
        entries.append(Patch(facecolor=colors[-1] / 255, edgecolor="none", label="ignored"))
    entries += [Patch(facecolor=ERRORS[name], edgecolor="none", label=name) for name in ERRORS if name in errors]
    longest = max(len(str(entry.get_label())) for entry in entries)
    columns = max(1, int(figure.get_figwidth() / (0.65 + 0.075 * longest)))
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, fontsize=9)
