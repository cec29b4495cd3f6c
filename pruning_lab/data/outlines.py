"""Masks drawn from outlines and run lengths, as COCO stores them. Knows arrays, not JSON files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Polygon = tuple[float, ...]
"""x0, y0, x1, y1, ...: corners in pixels, (0, 0) being the upper left corner of the upper left pixel."""
BACKGROUND = -1
"""What a drawn mask holds where no object is; categories may have any number from 0."""


@dataclass(frozen=True)
class Outline:
    """One object: the number of its category, and either its polygons or its run lengths over a whole image."""

    category: int
    polygons: tuple[Polygon, ...] = ()
    runs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """All objects of one image of `height` x `width` pixels."""

    height: int
    width: int
    outlines: tuple[Outline, ...]

    def values(self) -> NDArray[np.int64]:
        """Return int64 [height, width] of categories and BACKGROUND; smaller objects lie on larger ones."""
        inside = [self._inside(outline) for outline in self.outlines]
        order = sorted(range(len(inside)), key=lambda index: -int(inside[index].sum()))
        drawn = np.full((self.height, self.width), BACKGROUND, np.int64)
        for index in order:
            drawn[inside[index]] = self.outlines[index].category
        return drawn

    def _inside(self, outline: Outline) -> NDArray[np.bool_]:
        if outline.runs:
            return from_runs(outline.runs, self.height, self.width)
        found = np.zeros((self.height, self.width), np.bool_)
        for polygon in outline.polygons:
            found |= filled(polygon, self.height, self.width)
        return found


def filled(polygon: Polygon, height: int, width: int) -> NDArray[np.bool_]:
    """Return bool [height, width]: the pixels whose centers lie within a polygon, by the even-odd rule."""
    corners = np.array(polygon, np.float64).reshape(-1, 2)
    x0, y0 = corners.T[:, :, None]
    x1, y1 = np.roll(corners, -1, axis=0).T[:, :, None]
    first = max(math.ceil(corners[:, 1].min() - 0.5), 0)
    last = min(math.floor(corners[:, 1].max() - 0.5), height - 1)
    found = np.zeros((height, width), np.bool_)
    if last < first:
        return found
    middle = np.arange(first, last + 1) + 0.5
    edge, row = np.nonzero((y0 <= middle) != (y1 <= middle))
    x = x0[edge, 0] + (middle[row] - y0[edge, 0]) * (x1 - x0)[edge, 0] / (y1 - y0)[edge, 0]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    crossings = np.zeros((len(middle), width + 1), np.int64)
    np.add.at(crossings, (row, column), 1)
    found[first : last + 1] = crossings.cumsum(axis=1)[:, :width] % 2 == 1
    return found


def from_runs(runs: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Return bool [height, width] of run lengths that go down the columns and begin with pixels outside.

    Raises ValueError if they don't add up to the image.
    """
    if sum(runs) != height * width or min(runs) < 0:
        raise ValueError(f"run lengths add up to {sum(runs)} pixels, not {height} x {width}")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def runs_of_text(text: str) -> tuple[int, ...]:
    """Return the run lengths that COCO packs into a text: six bits a character, differences from the third on."""
    runs: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            code = ord(text[position]) - 48
            value |= (code & 31) << shift
            more, shift, position = bool(code & 32), shift + 5, position + 1
            if not more and code & 16:
                value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return tuple(runs)
