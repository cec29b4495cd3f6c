"""Roads and what stands along them: houses in rows, cars in lanes and at the kerb. Knows the sheet."""

from dataclasses import dataclass

import cv2
import numpy as np

from pruning_lab.data.drawing.brush import Floats, tinted
from pruning_lab.data.fields.ground import wander
from pruning_lab.data.fields.sheet import CAR, GROUND, HOUSE, ROAD, Sheet, box

_ROOFS = (
    (0.55, 0.27, 0.20),  # tiles
    (0.45, 0.25, 0.20),
    (0.38, 0.34, 0.31),  # slate
    (0.50, 0.49, 0.48),  # flat, of the color of a road
    (0.62, 0.60, 0.57),
    (0.30, 0.30, 0.33),
)
_CARS = ((0.88, 0.88, 0.88), (0.10, 0.10, 0.11), (0.55, 0.56, 0.58), (0.60, 0.12, 0.10), (0.14, 0.22, 0.45))


@dataclass(frozen=True)
class Road:
    """A road's middle line [points, 2], and how wide it is in pixels."""

    points: Floats
    wide: float

    def at(self, share: float) -> tuple[Floats, float]:
        """The place at a share (0..1) of the line, and the direction there in radians."""
        place = share * (len(self.points) - 1)
        first = min(int(place), len(self.points) - 2)
        step = self.points[first + 1] - self.points[first]
        return self.points[first] + (place - first) * step, float(np.arctan2(step[1], step[0]))


def draw_roads(sheet: Sheet, rng: np.random.Generator) -> list[Road]:
    """One to three roads; a road over water is a bridge."""
    roads = []
    for _ in range(rng.choice((1, 2, 2, 3))):
        road = Road(wander(sheet, rng, rng.uniform(0, 0.3)), sheet.unit * rng.uniform(4.5, 9.5))
        grey = rng.uniform(0.30, 0.58)
        sheet.line(road.points, road.wide, ROAD, tinted(rng, (grey, grey, grey * 0.98), 0.012))
        roads.append(road)
    for road in roads:
        if rng.random() < 0.5:
            _dashes(sheet, road, rng)
    return roads


def _dashes(sheet: Sheet, road: Road, rng: np.random.Generator) -> None:
    for share in np.arange(0, 1, 0.02):
        middle, along = road.at(float(share))
        light = (0.75, 0.75, 0.72)
        sheet.fill(box(middle, along, 0.012 * len(road.points) * sheet.unit * 4, 0.5 * sheet.unit), None, light)


def draw_houses(sheet: Sheet, roads: list[Road], rng: np.random.Generator) -> None:
    """Houses on both sides of the roads and a few by themselves, each with its shadow, none on road or water."""
    plans = []
    for road in roads:
        share, step = rng.uniform(0, 0.1), rng.uniform(0.055, 0.14)
        while share < 1:
            for side in (-1, 1):
                if rng.random() < 0.55:
                    plans.append(_beside(sheet, road, share, side, rng))
            share += step * rng.uniform(0.8, 1.3)
    for _ in range(rng.integers(0, 4)):
        middle = rng.uniform((0, 0), (sheet.width, sheet.height))
        plans.append((np.asarray(middle, np.float32), rng.uniform(0, np.pi), *_extent(sheet, rng)))
    stand = []
    for plan in plans:
        corners = box(*plan)
        around = np.concatenate([corners, (corners + np.roll(corners, 1, 0)) / 2, plan[0][None]])
        if (sheet.kind_at(around) == GROUND).all():
            stand.append(plan)
            sheet.fill(corners, HOUSE, (0, 0, 0))
    height = [rng.uniform(2.0, 5.0) for _ in stand]
    sheet.shade([_shadow(sheet, box(*plan), tall) for plan, tall in zip(stand, height, strict=True)], 0.5)
    for plan in stand:
        _roof(sheet, plan, rng)


Plan = tuple[Floats, float, float, float]
"""Middle, direction, length and width of a rectangle."""


def _beside(sheet: Sheet, road: Road, share: float, side: int, rng: np.random.Generator) -> Plan:
    middle, along = road.at(share)
    length, width = _extent(sheet, rng)
    aside = road.wide / 2 + width / 2 + sheet.unit * rng.uniform(1.5, 5)
    place = middle + side * aside * np.array([-np.sin(along), np.cos(along)])
    return np.asarray(place, np.float32), along + rng.normal(0, 0.04), length, width


def _extent(sheet: Sheet, rng: np.random.Generator) -> tuple[float, float]:
    width = sheet.unit * rng.uniform(5, 11)
    return width * rng.uniform(1, 1.8), width


def _shadow(sheet: Sheet, corners: Floats, tall: float) -> Floats:
    """The hull of a shape and of the same shape where its shadow ends."""
    away = np.array(sheet.shadow, np.float32) * tall * sheet.unit
    return np.asarray(cv2.convexHull(np.concatenate([corners, corners + away]))[:, 0], np.float32)


def _roof(sheet: Sheet, plan: Plan, rng: np.random.Generator) -> None:
    """Two slopes, one in the light; or flat, with a box or two on it that look like cars."""
    middle, along, length, width = plan
    color = tinted(rng, _ROOFS[rng.integers(len(_ROOFS))], 0.03)
    sheet.fill(box(*plan), HOUSE, color)
    if rng.random() < 0.65:
        aside = np.array([-np.sin(along), np.cos(along)]) * width / 4
        bright = 1 + 0.25 * np.sign(aside @ np.array(sheet.shadow)) * -1
        sheet.fill(box(middle + aside, along, length, width / 2), None, np.clip(color * bright, 0, 1))
        return
    for _ in range(rng.integers(0, 3)):
        place = middle + rng.uniform(-0.3, 0.3, 2) * min(length, width)
        sheet.fill(
            box(place, along, *(sheet.unit * rng.uniform(1.5, 3.5, 2))), None, rng.uniform(0.2, 0.9) * np.ones(3)
        )


def draw_cars(sheet: Sheet, roads: list[Road], rng: np.random.Generator) -> None:
    """Cars in the lanes, and some parked on the ground beside the road."""
    for road in roads:
        for _ in range(rng.integers(1, 8)):
            middle, along = road.at(rng.uniform(0, 1))
            parked = rng.random() < 0.25
            aside = road.wide / 2 + 1.8 * sheet.unit if parked else road.wide * rng.uniform(0.2, 0.3)
            place = middle + rng.choice((-1, 1)) * aside * np.array([-np.sin(along), np.cos(along)])
            if int(sheet.kind_at(np.asarray(place, np.float32)[None])[0]) == (GROUND if parked else ROAD):
                _car(sheet, np.asarray(place, np.float32), along, rng)


def _car(sheet: Sheet, place: Floats, along: float, rng: np.random.Generator) -> None:
    long, wide = sheet.unit * rng.uniform(4.2, 5.6), sheet.unit * rng.uniform(2.1, 2.6)
    color = tinted(rng, _CARS[rng.integers(len(_CARS))], 0.04)
    sheet.shade([box(place + np.array(sheet.shadow) * 0.8 * sheet.unit, along, long, wide)], 0.65)
    sheet.fill(box(place, along, long, wide), CAR, color)
    sheet.fill(box(place, along, 0.4 * long, 0.75 * wide), None, 0.45 * color)
