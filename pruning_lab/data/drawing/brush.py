"""What drawn pictures are painted with: blending, soft noise and hair-thin strokes. Knows no scene."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]

FINER = 3
"""Strokes are drawn on a canvas this many times finer, because most hairs are thinner than a pixel."""
FRACTION_BITS = 4


def blend(picture: Floats, color: ArrayLike, share: Floats) -> None:
    """Paint `color` ([3] or [H, W, 3]) over `picture` [H, W, 3] in place, by `share` [H, W] (0..1)."""
    picture += (np.asarray(color, np.float32) - picture) * share[..., None]


def soft_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> Floats:
    """Return smooth noise [H, W] of about unit variance, with some `cells` bumps along the longer side."""
    longer = max(height, width)
    grid = (max(2, round(cells * height / longer)), max(2, round(cells * width / longer)))
    coarse = rng.standard_normal(grid, np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def strokes(height: int, width: int, lines: Sequence[Floats], thickness: float) -> Floats:
    """Return how much of each pixel [H, W] is covered by `lines`, each [points, 2] as (x, y) in pixels.

    `thickness` is in pixels at the root of a line; the second half of each line is drawn half as thick.
    """
    canvas = np.zeros((height * FINER, width * FINER), np.uint8)
    fixed_point = [np.round((line + 0.5) * FINER * 2**FRACTION_BITS).astype(np.int32) for line in lines]
    roots = [line[: len(line) // 2 + 1] for line in fixed_point]
    for part, wide in ((fixed_point, thickness / 2), (roots, thickness)):
        pixels = max(1, round(wide * FINER))
        cv2.polylines(canvas, part, False, 255, pixels, cv2.LINE_AA, FRACTION_BITS)
    covered = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(covered, np.float32) / np.float32(255)


def tinted(rng: np.random.Generator, color: ArrayLike, spread: float) -> Floats:
    """Return `color` [3] with each channel moved at random by about `spread`, kept in 0..1."""
    return np.clip(np.asarray(color) + rng.normal(0, spread, 3), 0, 1).astype(np.float32)
