"""The geometry of one drawn eye: where its lids, iris and pupil are, exactly. Knows nothing of colors.

Two systems of coordinates: pixels, and the eye's own, in which the corners of the lids lie at (-1, 0) and (1,
0).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BACKGROUND, SCLERA, IRIS, PUPIL = range(4)
CLASS_NAMES = ("background", "sclera", "iris", "pupil")


@dataclass(frozen=True)
class Lid:
    """One edge of the opening: down(across) in the eye's own coordinates, zero at both corners and beyond."""

    height: float
    power: float
    skew: float

    def __call__(self, across: Floats) -> Floats:
        inside = np.clip(1 - across**2, 0, 1)
        slanted = np.clip(across + self.skew * inside, -1, 1)
        curve: Floats = self.height * np.clip(1 - slanted**2, 0, 1) ** self.power
        return curve


@dataclass(frozen=True)
class EyeShape:
    """Signed distances in pixels, float32 [H, W], positive inside; approximate away from the edge itself."""

    unit: float
    upper_lid: Lid
    lower_lid: Lid
    to_pixels: Callable[[Floats, Floats], Floats]
    across: Floats
    down: Floats
    under_upper_lid: Floats
    over_lower_lid: Floats
    iris: Floats
    pupil: Floats
    caruncle: Floats
    iris_radius: float
    iris_centre: tuple[float, float]
    iris_share: Floats
    """Distance from the iris's centre as a share of its radius."""
    iris_angle: Floats

    @property
    def opening(self) -> Floats:
        """Distance to the nearer lid, positive between lids and corners and outside the caruncle."""
        between_lids = np.minimum(self.under_upper_lid, self.over_lower_lid)
        between_corners = (1 - np.abs(self.across)) * self.unit
        opening: Floats = np.minimum(np.minimum(between_lids, between_corners), -self.caruncle)
        return opening

    def mask(self) -> NDArray[np.uint8]:
        """Return uint8 [H, W] with the class of every pixel's centre."""
        classes = np.full(self.iris.shape, SCLERA, np.uint8)
        classes[self.iris > 0] = IRIS
        classes[self.pupil > 0] = PUPIL
        classes[self.opening <= 0] = BACKGROUND
        return classes


def coverage(distance: Floats, softness: float = 1.0) -> Floats:
    """Return how much (0..1) of each pixel lies inside an edge at signed `distance`: anti-aliasing."""
    share: Floats = np.clip(distance / softness + 0.5, 0, 1)
    return share


def random_shape(rng: np.random.Generator, height: int, width: int) -> EyeShape:
    """Draw the shape of one eye for an image of `height` x `width` pixels."""
    unit = min(width, height * 4 / 3) * rng.uniform(0.34, 0.47)
    tilt = rng.normal(0, 0.09)
    side = rng.choice((-1.0, 1.0))
    middle = np.array([width * rng.uniform(0.42, 0.58), height * rng.uniform(0.45, 0.62)])
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]) @ np.diag([side, 1.0])

    def to_pixels(across: Floats, down: Floats) -> Floats:
        points: Floats = (np.stack([across, down], -1) * unit @ turn.T + middle).astype(np.float32)
        return points

    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    offset = np.stack([columns - middle[0], rows - middle[1]], -1) @ turn / unit
    across, down = offset[..., 0].astype(np.float32), offset[..., 1].astype(np.float32)

    openness = rng.uniform(0.75, 1.15) if rng.random() < 0.8 else rng.uniform(0.2, 0.75)
    upper = Lid(-0.46 * openness * rng.uniform(0.85, 1.2), rng.uniform(0.75, 1.25), rng.uniform(-0.3, 0.15))
    lower = Lid(0.21 * openness**0.5 * rng.uniform(0.7, 1.3), rng.uniform(0.8, 1.3), rng.uniform(-0.15, 0.3))

    gaze = np.clip(rng.normal(0, (0.2, 0.07)), (-0.45, -0.12), (0.45, 0.16))
    full_height = 0.46 * max(openness, 0.8)
    centre = np.array([gaze[0], gaze[1] - 0.5 * full_height + 0.11])
    iris_radius = rng.uniform(0.36, 0.46)
    share, angle = _seen_from_the_side(across, down, centre, gaze, iris_radius)

    pupil_share = rng.uniform(0.27, 0.64)
    pupil_centre = centre + rng.normal(0, 0.012, 2)
    pupil_reach, _ = _seen_from_the_side(across, down, pupil_centre, gaze, iris_radius * pupil_share)
    dent = 1 + 0.02 * np.cos(3 * angle + rng.uniform(0, 6))
    nasal = np.hypot((across + 0.97) / rng.uniform(0.12, 0.2), (down - 0.02) / 0.13)
    return EyeShape(
        unit=unit,
        upper_lid=upper,
        lower_lid=lower,
        to_pixels=to_pixels,
        across=across,
        down=down,
        under_upper_lid=_distance_below(upper, across, down, unit),
        over_lower_lid=-_distance_below(lower, across, down, unit),
        iris=(1 - share) * iris_radius * unit,
        pupil=(1 - pupil_reach * dent) * iris_radius * pupil_share * unit,
        caruncle=((1 - nasal) * 0.13 * unit).astype(np.float32),
        iris_radius=iris_radius,
        iris_centre=(float(centre[0]), float(centre[1])),
        iris_share=share,
        iris_angle=angle,
    )


def _distance_below(lid: Lid, across: Floats, down: Floats, unit: float) -> Floats:
    """Return pixels [H, W] below the lid: the vertical distance, shortened where the lid is steep."""
    table = np.linspace(-3, 3, 601, dtype=np.float32)
    curve = lid(table)
    flatness = 1 / np.hypot(1, np.gradient(curve, table))
    vertical = down - np.interp(across, table, curve)
    distance: Floats = (vertical * np.interp(across, table, flatness) * unit).astype(np.float32)
    return distance


def _seen_from_the_side(
    across: Floats, down: Floats, centre: NDArray[np.float64], gaze: NDArray[np.float64], radius: float
) -> tuple[Floats, Floats]:
    """Return (distance from `centre` in radii, angle), [H, W] each, of a disc that looks along `gaze`.

    A disc on a turned ball looks narrower in the direction in which it has turned, by the cosine of the turn.
    """
    turned = float(np.hypot(*gaze))
    along = gaze / turned if turned > 1e-6 else np.array([1.0, 0.0])
    narrowing = np.sqrt(1 - min(turned / 0.85, 0.95) ** 2)
    right, below = across - centre[0], down - centre[1]
    lengthwise = (right * along[0] + below * along[1]) / narrowing
    sideways = below * along[0] - right * along[1]
    reach: Floats = (np.hypot(lengthwise, sideways) / radius).astype(np.float32)
    angle: Floats = np.arctan2(sideways, lengthwise).astype(np.float32)
    return reach, angle
