"""A comparison of models as JSON for a browser: pictures inside, times, shares of classes. Runs no model."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image as Picture

from pruning_lab.lab.output.html import data_uri
from pruning_lab.lab.output.palette import class_colors
from pruning_lab.lab.output.samples import ERRORS, as_colors, error_map, laid_over, painted
from pruning_lab.tasks.mask_values import as_png
from pruning_lab.tasks.show.models import BASE, Comparison, Found

LONGEST_SIDE = 1200
"""Pixels of the longer side of a picture that is sent; masks are compared at their full size."""

DIFFERENCES = {
    "missed": "only the base sees a class here",
    "too much": "only the pruned model sees a class here",
    "another class": "both see a class, and not the same",
}


def answer(comparison: Comparison) -> dict[str, Any]:
    """What the page shows of a comparison; JSON can hold it."""
    pixels, found = comparison.pixels, comparison.found
    classes = max(len(comparison.class_names), *(int(each.mask.max()) + 1 for each in found))
    colors = class_colors(classes)
    names = [*comparison.class_names, *(f"class {index}" for index in range(len(comparison.class_names), classes))]
    told: dict[str, Any] = {
        "size": [int(side) for side in pixels.shape[:2]],
        "pages": comparison.pages,
        "image": _picture(as_colors(pixels)),
        "classes": [
            {"name": name, "color": to_hex(color / 255)} for name, color in zip(names, colors[:classes], strict=True)
        ],
        "models": [_model(each, comparison, colors, classes) for each in found],
    }
    masks = {each.name: each.mask for each in found}
    if BASE in masks:
        base, pruned = (each.mask for each in found)
        told["difference"] = _picture(error_map(pixels, base.astype(np.int64), pruned))
        told["agreement"] = float((base == pruned).mean())
        told["legend"] = [{"name": text, "color": to_hex(ERRORS[kind])} for kind, text in DIFFERENCES.items()]
    return told


def _model(found: Found, comparison: Comparison, colors: NDArray[np.uint8], classes: int) -> dict[str, Any]:
    counts = np.bincount(found.mask.ravel(), minlength=classes)
    return {
        "name": found.name,
        "milliseconds": 1000 * found.seconds,
        "overlay": _picture(laid_over(comparison.pixels, found.mask, classes)),
        "mask": _picture(painted(found.mask, colors)),
        "shares": [float(count) / found.mask.size for count in counts],
    }


def _picture(pixels: NDArray[np.uint8]) -> str:
    """Pixels [H, W, 3] as an address that holds them, made smaller where they are large."""
    height, width = pixels.shape[:2]
    factor = LONGEST_SIDE / max(height, width)
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = np.asarray(Picture.fromarray(pixels).resize(size, Picture.Resampling.BILINEAR))
    return data_uri(as_png(pixels), "image/png")
