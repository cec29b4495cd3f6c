"""Pictures of predictions as small files inside a page. Draws arrays; runs no model."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image

from pruning_lab.lab.output import units
from pruning_lab.lab.output.html import data_uri
from pruning_lab.lab.output.palette import class_colors
from pruning_lab.lab.output.samples import ERRORS, as_colors, error_map, painted, with_ignored
from pruning_lab.tasks.report.page.side_by_side import Contrast, SideBySide

LONGEST_SIDE = 320
"""Of a picture on the page, in pixels; larger ones are shrunk."""


@dataclass(frozen=True)
class Tile:
    """A picture: what it is, and its address; `errors` shows the same prediction by where it is wrong."""

    name: str
    score: str
    picture: str
    errors: str = ""


@dataclass(frozen=True)
class TileRow:
    """An image: what it is called, how far methods differ on it, and its pictures."""

    label: str
    difference: str
    tiles: list[Tile]


def tile_rows(found: SideBySide) -> list[TileRow]:
    """The pictures of each image: itself, its mask, and each model's prediction."""
    return [_row(found, contrast) for contrast in found.contrasts]


def keys(found: SideBySide) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Name and color of each class, and of each kind of error."""
    colors = class_colors(len(found.class_names)) / 255
    classes = [(name, to_hex(tuple(color))) for name, color in zip(found.class_names, colors, strict=False)]
    return classes, list(ERRORS.items())


def _row(found: SideBySide, contrast: Contrast) -> TileRow:
    colors = class_colors(len(found.class_names))
    mask = with_ignored(contrast.mask, len(found.class_names), found.ignore_index)
    tiles = [
        Tile("image", "", _uri(as_colors(contrast.image), smooth=True)),
        Tile("mask", "", _uri(painted(mask, colors))),
    ]
    for each in contrast.predictions:
        score = "no pixel counts" if math.isnan(each.iou) else f"IoU {units.percent(each.iou)}"
        wrong = _uri(error_map(contrast.image, mask, each.found), smooth=True)
        tiles.append(Tile(each.model, score, _uri(painted(each.found, colors)), wrong))
    return TileRow(contrast.label, units.percent(contrast.difference), tiles)


def _uri(pixels: NDArray[np.uint8], smooth: bool = False) -> str:
    """An image [H, W, 3] as a PNG; of few colors where its own are classes, so that none is mixed from two."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST)
    stream = io.BytesIO()
    (picture if smooth else picture.quantize(256, dither=Image.Dither.NONE)).save(stream, "PNG", optimize=True)
    return data_uri(stream.getvalue(), "image/png")
