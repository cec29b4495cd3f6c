"""Trees: single ones, rows and woods, over all that lies below them. Knows the sheet."""

import numpy as np

from pruning_lab.data.drawing.brush import Floats, tinted
from pruning_lab.data.fields.ground import blob, wander
from pruning_lab.data.fields.sheet import TREE, WATER, Sheet

_LEAVES = ((0.16, 0.25, 0.12), (0.20, 0.30, 0.14), (0.25, 0.32, 0.16), (0.32, 0.30, 0.15), (0.13, 0.20, 0.13))


def draw_trees(sheet: Sheet, rng: np.random.Generator) -> None:
    """Crowns with their shadows, none in the water; those of a wood hide what is below."""
    middles = [*_single(sheet, rng), *_row(sheet, rng), *_wood(sheet, rng)]
    dry = sheet.kind_at(np.stack(middles)) != WATER
    crowns = [(middle, sheet.unit * rng.uniform(2, 5.5)) for middle, may in zip(middles, dry, strict=True) if may]
    shapes = [blob(middle, radius, 0.18, rng, corners=12) for middle, radius in crowns]
    away = np.array(sheet.shadow, np.float32)
    sheet.shade([shape + away * radius * 0.7 for shape, (_, radius) in zip(shapes, crowns, strict=True)], 0.55)
    kinds = rng.integers(len(_LEAVES), size=2)
    for shape, (middle, radius) in zip(shapes, crowns, strict=True):
        color = tinted(rng, _LEAVES[rng.choice(kinds)], 0.025)
        sheet.fill(shape, TREE, color)
        lit = (shape - middle) * 0.55 + middle - away * radius * 0.25
        sheet.fill(np.asarray(lit, np.float32), None, color * rng.uniform(1.1, 1.4))


def _single(sheet: Sheet, rng: np.random.Generator) -> list[Floats]:
    return list(rng.uniform((0, 0), (sheet.width, sheet.height), (int(rng.integers(1, 10)), 2)).astype(np.float32))


def _row(sheet: Sheet, rng: np.random.Generator) -> list[Floats]:
    """Along a line, as hedges and avenues are."""
    if rng.random() < 0.4:
        return []
    line = wander(sheet, rng, 0.1)
    return list(line[rng.random(len(line)) < 0.7])


def _wood(sheet: Sheet, rng: np.random.Generator) -> list[Floats]:
    if rng.random() < 0.6:
        return []
    middle = rng.uniform((0, 0), (sheet.width, sheet.height))
    spread = sheet.unit * rng.uniform(5, 14, 2)
    return list(rng.normal(middle, spread, (int(rng.integers(12, 50)), 2)).astype(np.float32))
