"""What lies lowest: fields of crops and grass, dirt tracks, rivers and ponds. Knows the sheet."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pruning_lab.data.drawing.brush import Floats, soft_noise, tinted
from pruning_lab.data.fields.sheet import FINER, GROUND, WATER, Sheet

_CROPS = (
    (0.33, 0.42, 0.20),  # grass
    (0.26, 0.36, 0.17),
    (0.42, 0.47, 0.24),
    (0.58, 0.52, 0.33),  # straw
    (0.47, 0.38, 0.27),  # soil
    (0.36, 0.30, 0.23),
    (0.52, 0.50, 0.44),  # gravel
)
_WATERS = ((0.17, 0.26, 0.29), (0.22, 0.30, 0.26), (0.29, 0.32, 0.25), (0.14, 0.20, 0.25))


def draw_fields(sheet: Sheet, rng: np.random.Generator) -> None:
    """Cover the sheet with fields, each the land that is nearest to a point of its own; some are furrowed."""
    rows, columns = np.mgrid[0 : sheet.height, 0 : sheet.width].astype(np.float32)
    count = int(rng.integers(3, 9))
    seeds = rng.uniform((0, 0), (sheet.width, sheet.height), (count, 2))
    stretch = rng.uniform(0.4, 1.0)
    turn = rng.uniform(0, np.pi)
    across, down = (
        columns * np.cos(turn) + rows * np.sin(turn),
        (rows * np.cos(turn) - columns * np.sin(turn)) * stretch,
    )
    places = seeds @ np.array([[np.cos(turn), -np.sin(turn) * stretch], [np.sin(turn), np.cos(turn) * stretch]])
    apart = (across[..., None] - places[:, 0]) ** 2 + (down[..., None] - places[:, 1]) ** 2
    field = apart.argmin(-1)
    ground = np.empty((sheet.height, sheet.width, 3), np.float32)
    for number in range(count):
        color = tinted(rng, _CROPS[rng.integers(len(_CROPS))], 0.03)
        furrows = 1.0
        if rng.random() < 0.5:
            angle, apart_by = rng.uniform(0, np.pi), sheet.unit * rng.uniform(2.0, 5.0)
            wave = np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / apart_by)
            furrows = (1 + rng.uniform(0.03, 0.16) * wave)[field == number][:, None]
        ground[field == number] = color * furrows
    size = (sheet.width * FINER, sheet.height * FINER)
    sheet.colors[:] = cv2.resize(ground, size, interpolation=cv2.INTER_LINEAR)
    sheet.classes[:] = GROUND


def draw_tracks(sheet: Sheet, rng: np.random.Generator) -> None:
    """Dirt tracks: bare ground, as narrow and straight as a lane, and no road."""
    for _ in range(rng.integers(0, 3)):
        color = tinted(rng, (0.55, 0.49, 0.40), 0.04)
        sheet.line(wander(sheet, rng, 0.1), sheet.unit * rng.uniform(1.5, 4.0), None, color)


def draw_water(sheet: Sheet, rng: np.random.Generator) -> None:
    """A river or none, a pond or none."""
    color = tinted(rng, _WATERS[rng.integers(len(_WATERS))], 0.02)
    if rng.random() < 0.35:
        sheet.line(wander(sheet, rng, 0.45), sheet.unit * rng.uniform(4, 17), WATER, color)
    for _ in range(rng.integers(0, 3)):
        middle = rng.uniform((0, 0), (sheet.width, sheet.height))
        sheet.fill(blob(middle, sheet.unit * rng.uniform(4, 15), 0.3, rng), WATER, color)


def wander(sheet: Sheet, rng: np.random.Generator, bend: float) -> Floats:
    """A line [points, 2] from one side of the sheet to another; `bend` is how much it turns on the way."""
    through = rng.uniform((0.15, 0.15), (0.85, 0.85)) * (sheet.width, sheet.height)
    angle = rng.uniform(0, np.pi)
    reach = 0.8 * np.hypot(sheet.width, sheet.height)
    along = np.linspace(-1, 1, 33)
    aside = (
        bend * 0.3 * np.sin(along * rng.uniform(2, 5) + rng.uniform(0, 6)) + bend * rng.uniform(-0.3, 0.3) * along**2
    )
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(through + reach * (np.stack([along, aside], 1) @ turned), np.float32)


def blob(
    middle: NDArray[np.floating], radius: float, rough: float, rng: np.random.Generator, corners: int = 18
) -> Floats:
    """A round shape [corners, 2] with an uneven rim."""
    around = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    waves = sum(rng.normal(0, rough / (n + 1)) * np.cos(n * around + rng.uniform(0, 6)) for n in (1, 2, 3, 5))
    reach = radius * np.clip(1 + waves, 0.35, 1.8)
    return np.asarray(middle + np.stack([np.cos(around), np.sin(around)], 1) * np.asarray(reach)[:, None], np.float32)


def roughen(sheet: Sheet, rng: np.random.Generator) -> None:
    """Texture: each class is as uneven as what it stands for, so that color alone does not tell them apart."""
    height, width = sheet.classes.shape
    fine = rng.standard_normal((height // 2 + 1, width // 2 + 1), np.float32)
    fine = np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    coarse = soft_noise(rng, height, width, 14)
    uneven_fine = np.array([0.10, 0.05, 0.06, 0.22, 0.03, 0.03], np.float32) * np.float32(rng.uniform(0.7, 1.3))
    uneven_coarse = np.array([0.09, 0.04, 0.02, 0.05, 0.04, 0.0], np.float32) * np.float32(rng.uniform(0.7, 1.3))
    change = uneven_fine[sheet.classes] * fine + uneven_coarse[sheet.classes] * coarse
    sheet.colors *= (1 + change)[..., None]
