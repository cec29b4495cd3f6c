"""Time as a function of channels, fitted to what was timed. Knows numbers alone.

A layer with u channels in and v out takes about a + b u + c v + d u v, where u and v count in steps: kernels work on
blocks of channels, and a block that is not full takes as long as a full one, or longer: where widths are no multiples
some runtimes fall back to other kernels. What has to be put into blocks first costs by the channels that there are. All
coefficients are costs, so none is negative (Lawson and Hanson 1974, NNLS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_WEIGHT = 0.02
"""Errors count relative to a time, or to this share of the longest one where it is shorter."""

REGISTER = 8
"""Channels that a processor's register holds in float32 (AVX2): narrow layers fill at least one, whatever the step."""

PLAIN, MOSTLY = 7, 0.9
"""Features before the surcharges for uneven widths; the share of samples that may bear one."""

UNEVEN = (4, 8)
"""Multiples besides the step off which a layer may fall back to slower kernels (onnxruntime's blocks want 4)."""

SMALL_ERROR = 0.03
"""Relative errors below this count by their squares."""

ROUNDS = 4
"""Fits, each with the weights that follow from the one before."""


@dataclass(frozen=True)
class Curve:
    """The time of one shape of layer, in units of the reference.

    Attributes:
        scale: the most channels in and out that were timed.
    """

    coefficients: np.ndarray
    scale: tuple[float, float]
    step: int

    def __call__(self, reads: np.ndarray, gives: np.ndarray) -> np.ndarray:
        """Times, float64 [k], for channels in and out, [k] each."""
        return _features(reads, gives, self.scale, self.step) @ self.coefficients


def fitted(samples: Sequence[Sequence[float]], step: int) -> Curve:
    """The curve through (channels in, channels out, time)."""
    reads, gives, times = np.array(samples, dtype=float).T
    scale = float(reads.max()), float(gives.max())
    features = _features(reads, gives, scale, step)
    # A surcharge that nearly all samples would bear can't be told from the price of the work itself.
    features[:, PLAIN:] *= (features[:, PLAIN:] > 0).mean(axis=0) <= MOSTLY
    return Curve(solved(features, times), scale, step)


def solved(features: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Coefficients, none negative, that come nearest to the times by relative error.

    What misses by much counts by its size, and not by its square: a time that was disturbed draws a curve to itself
    otherwise (iteratively reweighted least squares).
    """
    from scipy.optimize import nnls  # half a second of a start, and few runs ask for milliseconds

    weight = 1 / np.maximum(times, LEAST_WEIGHT * times.max(initial=1e-12))
    scale = np.maximum(np.abs(features).max(axis=0, initial=0), 1e-12)
    columns, wanted = features / scale * weight[:, None], times * weight
    trust = np.ones(len(times))
    for _ in range(ROUNDS):
        found, _ = nnls(columns * trust[:, None], wanted * trust)
        trust = 1 / np.sqrt(np.maximum(np.abs(columns @ found - wanted), SMALL_ERROR))
    return found / scale


def _features(reads: np.ndarray, gives: np.ndarray, scale: tuple[float, float], step: int) -> np.ndarray:
    reads, gives = np.asarray(reads, dtype=float), np.asarray(gives, dtype=float)
    u, v = _blocks(reads, step) / scale[0], _blocks(gives, step) / scale[1]
    registers = _blocks(reads, REGISTER) * _blocks(gives, REGISTER) / (scale[0] * scale[1])
    columns = [np.ones_like(u), u, v, u * v, registers, reads / scale[0], gives / scale[1]]
    uneven = [u * v * (channels % size != 0) for size in sorted({step, *UNEVEN}) for channels in (reads, gives)]
    return np.stack([*columns, *uneven], axis=-1)


def _blocks(channels: np.ndarray, size: int) -> np.ndarray:
    return np.ceil(channels / size) * size


def step_of(widths: Sequence[int], times: Sequence[float], candidates: Sequence[int] = (2, 4, 8, 16, 32, 64)) -> int:
    """The multiple at which time jumps: 1 where it grows smoothly.

    Staircases have to come clearly nearer to the times than a line does; of those that do equally well the coarsest.
    """
    reads, seen = np.array(widths, dtype=float), np.array(times, dtype=float)

    def miss(step: int) -> float:
        blocks = np.ceil(reads / step) * step
        features = np.stack([np.ones_like(reads), blocks, reads % step != 0], axis=1)
        return float(np.abs(features @ solved(features, seen) / seen - 1).mean())

    misses = {step: miss(step) for step in candidates}
    least = min(misses.values())
    if least > CLEARLY * miss(1):
        return 1
    return max(step for step, found in misses.items() if found <= ALIKE * least)


CLEARLY = 0.93
"""A staircase is seen where it misses the times by less than this share of what a line does."""

ALIKE = 1.05
"""Staircases that miss by no more than this times what the best one does are taken to be as good."""
