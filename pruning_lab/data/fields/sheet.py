"""A sheet of land: its picture and the class of every point, drawn together, finer than pixels. Knows no shapes."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pruning_lab.data.drawing.brush import Floats

CLASS_NAMES = ("ground", "road", "house", "tree", "water", "car")
GROUND, ROAD, HOUSE, TREE, WATER, CAR = range(len(CLASS_NAMES))
UNLABELED = 255

FINER = 3
"""Points along a pixel's side: an odd number has one at its center. A car is two pixels wide."""
_FRACTION_BITS = 5


@dataclass
class Sheet:
    """Land while it is drawn; places are (x, y) in pixels, and a unit is the size that things are measured in.

    Attributes:
        height, width: in pixels.
        unit: pixels to a meter or so: a hundredth of the shorter side.
        shadow: (x, y) in units, where a thing of height one throws the end of its shadow.
        colors: float32 [points down, points across, 3] in 0..1.
        classes: uint8 [points down, points across].
    """

    height: int
    width: int
    shadow: tuple[float, float]
    unit: float = field(init=False)
    colors: Floats = field(init=False)
    classes: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.unit = min(self.height, self.width) / 100
        self.colors = np.zeros((self.height * FINER, self.width * FINER, 3), np.float32)
        self.classes = np.zeros(self.colors.shape[:2], np.uint8)

    def fill(self, corners: Floats, kind: int | None, color: ArrayLike) -> None:
        """Fill a polygon [corners, 2]; with `kind` None its class stays what it was."""
        self.fill_all([corners], kind, color)

    def fill_all(self, polygons: list[Floats], kind: int | None, color: ArrayLike) -> None:
        """The same of many at once, all of one color."""
        points = [fixed(polygon) for polygon in polygons]
        cv2.fillPoly(self.colors, points, _scalar(color), cv2.LINE_8, _FRACTION_BITS)
        if kind is not None:
            cv2.fillPoly(self.classes, points, kind, cv2.LINE_8, _FRACTION_BITS)

    def line(self, points: Floats, wide: float, kind: int | None, color: ArrayLike) -> None:
        """A line through points [points, 2], `wide` pixels wide."""
        thick = max(1, round(wide * FINER))
        cv2.polylines(self.colors, [fixed(points)], False, _scalar(color), thick, cv2.LINE_8, _FRACTION_BITS)
        if kind is not None:
            cv2.polylines(self.classes, [fixed(points)], False, kind, thick, cv2.LINE_8, _FRACTION_BITS)

    def shade(self, polygons: list[Floats], light: float) -> None:
        """Leave a share of the light inside polygons, once where several lie over each other."""
        if not polygons:
            return
        points = [fixed(polygon) for polygon in polygons]
        corners = np.concatenate(points) >> _FRACTION_BITS
        first = np.clip(corners.min(0), 0, self.classes.shape[::-1])
        last = np.clip(corners.max(0) + 2, 0, self.classes.shape[::-1])
        place = slice(first[1], last[1]), slice(first[0], last[0])
        if 0 in self.classes[place].shape:
            return
        light_left = np.ones(self.classes[place].shape, np.float32)
        for polygon in points:
            shifted = polygon - (first << _FRACTION_BITS).astype(np.int32)
            cv2.fillPoly(light_left, [shifted], light, cv2.LINE_8, _FRACTION_BITS)
        self.colors[place] *= light_left[..., None]

    def kind_at(self, places: Floats) -> NDArray[np.uint8]:
        """The class at places [n, 2]; those off the sheet count as the nearest point on it."""
        down = np.clip(np.round((places[:, 1] + 0.5) * FINER - 0.5), 0, self.classes.shape[0] - 1).astype(int)
        across = np.clip(np.round((places[:, 0] + 0.5) * FINER - 0.5), 0, self.classes.shape[1] - 1).astype(int)
        found: NDArray[np.uint8] = self.classes[down, across]
        return found

    def picture(self) -> Floats:
        """float32 [H, W, 3] in 0..1, each pixel the mean of its points."""
        size = (self.width, self.height)
        return np.clip(np.asarray(cv2.resize(self.colors, size, interpolation=cv2.INTER_AREA), np.float32), 0, 1)

    def mask(self) -> NDArray[np.uint8]:
        """uint8 [H, W], the class at every pixel's center."""
        return self.classes[FINER // 2 :: FINER, FINER // 2 :: FINER].copy()


def box(center: NDArray[np.floating], along: float, length: float, width: float) -> Floats:
    """The corners [4, 2] of a rectangle that lies in the direction `along` (radians)."""
    forward = np.array([np.cos(along), np.sin(along)]) * length / 2
    aside = np.array([-np.sin(along), np.cos(along)]) * width / 2
    corners = [forward + aside, forward - aside, -forward - aside, aside - forward]
    return np.asarray(center + np.array(corners), np.float32)


def fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    """Places in pixels as OpenCV wants them; the center of pixel (0, 0) is the place (0, 0)."""
    return np.round(((points + 0.5) * FINER - 0.5) * 2**_FRACTION_BITS).astype(np.int32)


def _scalar(color: ArrayLike) -> tuple[float, ...]:
    return tuple(float(part) for part in np.asarray(color).flatten())
