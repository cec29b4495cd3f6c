"""Paints what lies between the lids: sclera, veins, iris, pupil, reflections. Decides about no shapes."""

import cv2
import numpy as np

from pruning_lab.data.drawing.brush import Floats, blend, soft_noise, strokes, tinted
from pruning_lab.data.eyes.shape import EyeShape, coverage

IRIS_COLOURS = (
    (0.13, 0.07, 0.05),  # nearly black
    (0.22, 0.12, 0.07),
    (0.36, 0.21, 0.11),
    (0.46, 0.35, 0.18),  # hazel
    (0.33, 0.38, 0.24),  # green
    (0.38, 0.46, 0.50),  # grey
    (0.30, 0.45, 0.60),  # blue
)


def paint_eyeball(picture: Floats, shape: EyeShape, rng: np.random.Generator) -> None:
    """Paint the ball over `picture` [H, W, 3] (0..1) in place, where the lids leave it open."""
    ball = _sclera(shape, rng)
    _paint_iris(ball, shape, rng)
    _shade_by_lids(ball, shape, rng)
    _paint_reflections(ball, shape, rng)
    blend(picture, ball, coverage(shape.opening, rng.uniform(0.8, 1.6)))


def _sclera(shape: EyeShape, rng: np.random.Generator) -> Floats:
    height, width = shape.iris.shape
    white = tinted(rng, np.array((0.86, 0.82, 0.79)) * rng.uniform(0.72, 1.08), 0.03)
    ball = np.empty((height, width, 3), np.float32)
    ball[:] = white
    redness = rng.uniform(0.05, 0.5)
    blend(ball, (0.75, 0.42, 0.38), np.clip(redness * (np.abs(shape.across) - 0.35) * 1.3, 0, 0.6))
    clouds = np.clip(0.08 + 0.07 * soft_noise(rng, height, width, 10), 0, 1) * redness * 2
    blend(ball, (0.72, 0.45, 0.4), np.clip(clouds, 0, 1))
    veins = [_vein(shape, rng) for _ in range(rng.integers(3, 16))]
    share = strokes(height, width, veins, 0.012 * shape.unit) * rng.uniform(0.15, 0.75)
    blend(ball, tinted(rng, (0.62, 0.2, 0.18), 0.05), share)
    ball *= (1 - rng.uniform(0.1, 0.35) * np.clip(np.abs(shape.across), 0, 1.2) ** 2)[..., None]
    return ball


def _vein(shape: EyeShape, rng: np.random.Generator) -> Floats:
    """Return a line that wanders from the rim of the ball towards the iris."""
    steps = 8
    side = rng.choice((-1.0, 1.0))
    reach = rng.uniform(0.2, 0.55)
    across = side * (1.02 - np.linspace(0, reach, steps))
    down = rng.uniform(-0.35, 0.25) + np.cumsum(rng.normal(0, 0.03, steps))
    return shape.to_pixels(across.astype(np.float32), down.astype(np.float32))


def _paint_iris(ball: Floats, shape: EyeShape, rng: np.random.Generator) -> None:
    main = tinted(rng, IRIS_COLOURS[rng.integers(len(IRIS_COLOURS))], 0.035) * rng.uniform(0.75, 1.2)
    inner = tinted(rng, IRIS_COLOURS[rng.integers(1, 4)], 0.03)
    share = shape.iris_share
    iris = np.empty_like(ball)
    iris[:] = main
    collarette = rng.uniform(0.45, 0.7)
    blend(iris, inner, np.clip((collarette - share) * 5, 0, 1) * rng.uniform(0, 0.7))
    iris *= (1 + rng.uniform(0.08, 0.4) * _fibres(shape, rng))[..., None]
    ring = np.exp(-(((share - 1.0) / rng.uniform(0.06, 0.16)) ** 2))
    iris *= (1 - rng.uniform(0.2, 0.75) * ring)[..., None]
    limbus = rng.uniform(1.0, 1 + 0.13 * shape.unit * shape.iris_radius)
    blend(ball, np.clip(iris, 0, 1), coverage(shape.iris, limbus))
    depth = rng.uniform(0.01, 0.09) if rng.random() < 0.85 else rng.uniform(0.09, 0.2)
    blend(ball, tinted(rng, (depth, depth, depth), 0.01), coverage(shape.pupil, rng.uniform(0.9, 2.2)))


def _fibres(shape: EyeShape, rng: np.random.Generator) -> Floats:
    """Return radial texture [H, W] of about unit variance: noise, quick around and slow outwards."""
    around, outwards = int(rng.integers(40, 110)), int(rng.integers(3, 7))
    pattern = rng.standard_normal((outwards, around), np.float32)
    pattern = np.concatenate([pattern, pattern[:, :1]], axis=1)
    columns = (shape.iris_angle + np.pi) / (2 * np.pi) * around
    rows = np.clip(shape.iris_share, 0, 1) * (outwards - 1)
    texture = cv2.remap(pattern, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(texture, np.float32)


def _shade_by_lids(ball: Floats, shape: EyeShape, rng: np.random.Generator) -> None:
    """Darken the ball under the lids, which throw a soft shadow on it, more under the upper one."""
    reach = shape.unit * rng.uniform(0.1, 0.3)
    upper = np.exp(-np.clip(shape.under_upper_lid, 0, None) / reach) * rng.uniform(0.25, 0.75)
    lower = np.exp(-np.clip(shape.over_lower_lid, 0, None) / (0.4 * reach)) * rng.uniform(0.05, 0.35)
    ball *= ((1 - upper) * (1 - lower))[..., None]


def _paint_reflections(ball: Floats, shape: EyeShape, rng: np.random.Generator) -> None:
    """Paint lamps and windows mirrored in the wet front of the eye, on pupil, iris or sclera."""
    for _ in range(rng.integers(0, 4)):
        place = np.array(shape.iris_centre) + rng.normal(0, 0.45 * shape.iris_radius, 2)
        right, below = shape.across - place[0], shape.down - place[1]
        size = shape.iris_radius * rng.uniform(0.05, 0.22)
        stretch = rng.uniform(0.6, 1.6)
        if rng.random() < 0.5:
            reach = np.hypot(right / stretch, below)
        else:
            reach = np.maximum(np.abs(right + 0.2 * below) / stretch, np.abs(below))
        edge = coverage(((size - reach) * shape.unit).astype(np.float32), rng.uniform(1, 2.5))
        blend(ball, tinted(rng, (0.96, 0.97, 1.0), 0.03), edge * rng.uniform(0.35, 1.0))
