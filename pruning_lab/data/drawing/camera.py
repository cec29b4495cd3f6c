"""Turns a painting into a photograph: light, lens and sensor. Knows nothing of what is in the picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pruning_lab.data.drawing.brush import Floats, soft_noise


def photograph(picture: Floats, grey: bool, blur: float, noise: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return uint8 [H, W, 3] of `picture` [H, W, 3] (0..1) under uneven light, blurred and noisy.

    `blur` and `noise` scale how strong these are at most; `grey` photographs in shades of one color.
    """
    lit = _light(picture, rng)
    if grey:
        weights = rng.dirichlet((4, 3, 1.5)).astype(np.float32)
        lit = np.repeat((lit @ weights)[..., None], 3, axis=2)
    else:
        lit = lit * rng.normal(1, (0.05, 0.02, 0.05)).astype(np.float32)
    lit = _expose(lit, rng)
    lit = _blur(lit, blur, rng)
    return _sense(lit, noise, grey, rng)


def _light(picture: Floats, rng: np.random.Generator) -> Floats:
    """Return the picture under a lamp from one side, with soft shadows and darker corners."""
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    direction = rng.uniform(0, 2 * np.pi)
    slope = columns * np.cos(direction) + rows * np.sin(direction)
    light = 1 + rng.uniform(0, 0.5) * slope - rng.uniform(0, 0.25) * (rows**2 + columns**2)
    light += rng.uniform(0, 0.16) * soft_noise(rng, height, width, 3)
    lit: Floats = picture * np.clip(light, 0.15, 2)[..., None]
    return lit


def _expose(picture: Floats, rng: np.random.Generator) -> Floats:
    """Return the picture with a brightness, gamma and haze of its own, in 0..1."""
    gamma = rng.uniform(0.7, 1.45)
    haze = rng.uniform(0, 0.14)
    exposed: Floats = np.clip(picture * rng.uniform(0.65, 1.2), 0, 1) ** np.float32(gamma)
    return exposed * (1 - haze) + haze * rng.uniform(0.3, 0.8)


def _blur(picture: Floats, most: float, rng: np.random.Generator) -> Floats:
    """Return the picture out of focus by a deviation of up to `most` hundredths of its height."""
    deviation = most * rng.uniform(0, 1) ** 2 * picture.shape[0] / 100
    if deviation < 0.2:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation), np.float32)


def _sense(picture: Floats, most: float, grey: bool, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return uint8 with sensor noise; bright parts get more of it, since light arrives in counted photons."""
    height, width = picture.shape[:2]
    deviation = np.float32(most * rng.uniform(0.1, 1) ** 1.5)
    grain = rng.standard_normal((height, width, 1 if grey else 3), np.float32)
    noisy = picture + grain * deviation * np.sqrt(0.3 + 0.7 * picture)
    return np.clip(np.round(noisy * 255), 0, 255).astype(np.uint8)
