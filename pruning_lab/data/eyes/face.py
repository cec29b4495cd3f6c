"""Paints what surrounds the eye: skin, brow, margins, lashes, make-up, glasses. Decides about no lids."""

import numpy as np

from pruning_lab.data.drawing.brush import Floats, blend, soft_noise, strokes, tinted
from pruning_lab.data.eyes.shape import EyeShape, Lid, coverage

LIGHTEST_SKIN = np.array((0.93, 0.76, 0.67))
MIDDLE_SKIN = np.array((0.72, 0.51, 0.40))
DARKEST_SKIN = np.array((0.24, 0.15, 0.11))
MAKEUP_COLOURS = (
    (0.25, 0.15, 0.35),
    (0.15, 0.25, 0.45),
    (0.5, 0.25, 0.25),
    (0.2, 0.2, 0.2),
    (0.5, 0.38, 0.2),
)


def paint_skin(picture: Floats, shape: EyeShape, makeup: bool, rng: np.random.Generator) -> None:
    """Fill `picture` [H, W, 3] (0..1) in place with skin, folds and brow, and with eye shadow if `makeup`."""
    height, width = shape.iris.shape
    tone = rng.uniform(0, 2)
    pale, dark = (LIGHTEST_SKIN, MIDDLE_SKIN) if tone < 1 else (MIDDLE_SKIN, DARKEST_SKIN)
    picture[:] = tinted(rng, pale + (dark - pale) * (tone % 1), 0.025)
    patches = 0.06 * soft_noise(rng, height, width, 5) + 0.03 * soft_noise(rng, height, width, 40)
    picture *= (1 + rng.uniform(0.4, 1.3) * patches)[..., None]
    _paint_folds(picture, shape, rng)
    if makeup:
        over = -shape.under_upper_lid / shape.unit
        shadow = np.exp(-np.clip(over, 0, None) / rng.uniform(0.08, 0.25)) * coverage(over, 0.1)
        color = tinted(rng, MAKEUP_COLOURS[rng.integers(len(MAKEUP_COLOURS))], 0.06)
        blend(picture, color, shadow * rng.uniform(0.3, 0.85) * _beside_the_eye(shape, 1.3))
    _paint_brow(picture, shape, rng)


def _paint_folds(picture: Floats, shape: EyeShape, rng: np.random.Generator) -> None:
    """Darken the socket, the crease over the upper lid and the bag under the lower one."""
    socket = np.exp(-((shape.across / 1.3) ** 2) - ((shape.down + 0.1) / 0.7) ** 2)
    picture *= (1 - rng.uniform(0.0, 0.35) * socket)[..., None]
    over = -shape.under_upper_lid / shape.unit
    crease = np.exp(-(((over - rng.uniform(0.06, 0.22)) / rng.uniform(0.02, 0.05)) ** 2))
    picture *= (1 - rng.uniform(0.0, 0.55) * crease * _beside_the_eye(shape, 1.1))[..., None]
    under = -shape.over_lower_lid / shape.unit
    bag = np.exp(-(((under - rng.uniform(0.15, 0.4)) / rng.uniform(0.04, 0.12)) ** 2))
    picture *= (1 - rng.uniform(0.0, 0.3) * bag * np.exp(-(shape.across**2)))[..., None]


def _beside_the_eye(shape: EyeShape, reach: float) -> Floats:
    """Return 1 over the eye, falling softly to 0 at `reach` half-widths to either side, [H, W]."""
    return coverage(np.float32(reach - 0.15) - np.abs(shape.across), 0.3)


def _paint_brow(picture: Floats, shape: EyeShape, rng: np.random.Generator) -> None:
    height, width = shape.iris.shape
    hairs = int(rng.integers(40, 110))
    across = rng.uniform(-1.2, 1.15, hairs)
    middle = rng.uniform(-1.15, -0.8) + rng.uniform(0.1, 0.35) * (across - rng.uniform(-0.3, 0.3)) ** 2
    start = middle + rng.uniform(-0.5, 0.5, hairs) * rng.uniform(0.12, 0.25)
    along = np.linspace(0, 1, 4)[:, None]
    right = across + along * rng.uniform(0.1, 0.25, hairs)
    below = start - along * (0.12 - 0.12 * across) * rng.uniform(0.5, 1.3, hairs)
    lines = shape.to_pixels(right.T.astype(np.float32), below.T.astype(np.float32))
    covered = strokes(height, width, list(lines), rng.uniform(0.012, 0.03) * shape.unit)
    blend(picture, _hair_colour(rng), covered * rng.uniform(0.4, 0.95))


def paint_lids(picture: Floats, shape: EyeShape, makeup: bool, rng: np.random.Generator) -> None:
    """Paint caruncle, wet margins and lashes over `picture` [H, W, 3] in place; eye liner too if `makeup`."""
    between = np.minimum(shape.under_upper_lid, shape.over_lower_lid)
    flesh = coverage(np.minimum(shape.caruncle, between), 1.5)
    blend(picture, tinted(rng, (0.72, 0.42, 0.38), 0.05) * rng.uniform(0.6, 1.05), flesh)
    inside = (np.abs(shape.across) < 1.0).astype(np.float32)
    rim = np.exp(-((shape.over_lower_lid / (0.035 * shape.unit) + 0.8) ** 2)) * inside
    blend(picture, tinted(rng, (0.82, 0.6, 0.54), 0.05), rim * rng.uniform(0.1, 0.7))
    thickness = 0.05 if makeup else 0.022
    root = np.exp(-((shape.under_upper_lid / (thickness * shape.unit) + 0.5) ** 2)) * inside
    blend(picture, (0.08, 0.06, 0.06), root * rng.uniform(0.3, 0.9))

    height, width = shape.iris.shape
    color = _hair_colour(rng)
    width_of_hair = rng.uniform(0.016, 0.028) * (1.6 if makeup else 1.0) * shape.unit
    upper = _lashes(shape, shape.upper_lid, int(rng.integers(14, 46)), rng.uniform(0.14, 0.42), rng)
    lower = _lashes(shape, shape.lower_lid, int(rng.integers(6, 30)), rng.uniform(0.05, 0.16), rng)
    blend(picture, color, strokes(height, width, upper, width_of_hair) * rng.uniform(0.45, 1.0))
    blend(picture, color, strokes(height, width, lower, 0.7 * width_of_hair) * rng.uniform(0.2, 0.8))


def _lashes(shape: EyeShape, lid: Lid, hairs: int, length: float, rng: np.random.Generator) -> list[Floats]:
    """Return one curved line per lash: rooted on the lid, fanning outwards, some upper ones hanging."""
    roots = rng.uniform(-0.92, 0.97, hairs)
    outwards = np.sign(lid.height)
    lengths = length * rng.uniform(0.5, 1.25, hairs)
    droop = rng.uniform(-0.5, 0.9) if outwards < 0 else -0.2
    along = np.linspace(0, 1, 5)[:, None]
    lean = 0.75 * roots + rng.normal(0, 0.15, hairs)
    right = roots + along * lengths * lean
    rise = along * (droop * -1 + along * (0.8 + 0.9 * droop)) + rng.normal(0, 0.1, hairs) * along
    below = lid(roots.astype(np.float32)) + outwards * lengths * rise
    return list(shape.to_pixels(right.T.astype(np.float32), below.T.astype(np.float32)))


def _hair_colour(rng: np.random.Generator) -> Floats:
    black, blond = np.array((0.06, 0.05, 0.05)), np.array((0.5, 0.38, 0.25))
    return tinted(rng, black + (blond - black) * rng.beta(0.7, 2.0), 0.02)


def paint_glasses(picture: Floats, shape: EyeShape, rng: np.random.Generator) -> None:
    """Lay a frame and a streak of glare over `picture` [H, W, 3] in place."""
    height, width = shape.iris.shape
    corner = rng.uniform(2.5, 5)
    right = np.abs(shape.across - rng.uniform(-0.15, 0.15)) / rng.uniform(1.25, 1.6)
    below = np.abs(shape.down + rng.uniform(-0.05, 0.15)) / rng.uniform(0.75, 1.05)
    lens = (right**corner + below**corner) ** (1 / corner)
    frame = coverage(((rng.uniform(0.03, 0.12) - np.abs(lens - 1)) * shape.unit).astype(np.float32), 1.5)
    blend(picture, tinted(rng, rng.uniform(0.03, 0.45, 3) * rng.uniform(0.2, 1), 0.02), frame)
    slope = rng.uniform(-1.2, 1.2)
    streak = np.abs(shape.across + slope * shape.down - rng.uniform(-0.8, 0.8)) / rng.uniform(0.06, 0.3)
    uneven = np.clip(0.6 + 0.4 * soft_noise(rng, height, width, 4), 0, 1)
    glare = np.exp(-(streak**4)) * (lens < 1) * uneven * rng.uniform(0.1, 0.75)
    blend(picture, tinted(rng, (0.9, 0.93, 0.98), 0.04), glare.astype(np.float32))
