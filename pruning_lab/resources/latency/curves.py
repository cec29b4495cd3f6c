"""Time as a function of channels, fitted to what was timed. Knows numbers alone.

A layer with u channels in and v out takes about a + b u + c v + d u v, where u and v count in steps: kernels work on
blocks of channels, and a block that is not full takes as long as a full one. Some runtimes have other, slower kernels
for layers that read no multiple of 4, whose time grows smoothly: these have coefficients of their own. What has to be
put into blocks first costs by the channels that there are. All coefficients are costs, so none is negative (Lawson and
Hanson 1974, NNLS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_WEIGHT = 0.02
"""Errors count relative to a time, or to this share of the longest one where it is shorter."""

REGISTER = 8
"""Channels that a processor's register holds in float32 (AVX2): narrow layers fill at least one, whatever the step."""

PLAIN, MOSTLY = 15, 0.9
"""Features before the surcharges for uneven widths; the share of samples that may bear one."""

EVEN = 4
"""Layers that read no multiple of this may run in other kernels (onnxruntime's blocks want it)."""

FEWEST = 10
"""So many samples tell a kernel apart."""

SMALL_ERROR = 0.03
"""Relative errors below this count by their squares."""

ROUNDS = 4
"""Fits, each with the weights that follow from the one before."""


@dataclass(frozen=True)
class Curve:
    """The time of one shape of layer, in units of the reference.

    Attributes:
        scale: the most channels in and out that were timed, [2].
        split: whether layers that read no multiple of `EVEN` have a slope of their own.
    """

    coefficients: np.ndarray
    scale: np.ndarray
    step: int
    split: np.ndarray | bool

    def __call__(self, reads: np.ndarray, gives: np.ndarray) -> np.ndarray:
        """Times, float64 [k], for channels in and out, [k] each."""
        return (_features(reads, gives, self.scale, self.step, self.split) * self.coefficients).sum(axis=-1)

    @classmethod
    def stacked(cls, curves: Sequence[Curve]) -> Curve:
        """Several curves of one step as one, for channels of each in a last dimension: [k, curves] -> [k, curves]."""
        return cls(
            np.stack([one.coefficients for one in curves]),
            np.stack([one.scale for one in curves], axis=1),
            curves[0].step,
            np.array([one.split for one in curves]),
        )


def fitted(samples: Sequence[Sequence[float]], step: int) -> Curve:
    """The curve through (channels in, channels out, time)."""
    reads, gives, times = np.array(samples, dtype=float).T
    scale = np.array([reads.max(), gives.max()])
    uneven = int((reads % EVEN != 0).sum())
    split = min(uneven, len(reads) - uneven) >= FEWEST
    features = _features(reads, gives, scale, step, split)
    # A surcharge that nearly all samples would bear can't be told from the price of the work itself.
    features[:, PLAIN:] *= (features[:, PLAIN:] > 0).mean(axis=0) <= MOSTLY
    return Curve(solved(features, times), scale, step, split)


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


def _features(
    reads: np.ndarray, gives: np.ndarray, scale: np.ndarray, step: int, split: np.ndarray | bool
) -> np.ndarray:
    reads, gives = np.asarray(reads, dtype=float), np.asarray(gives, dtype=float)
    uneven = (reads % EVEN != 0) & split
    u, v = _blocks(reads, step) / scale[0], _blocks(gives, step) / scale[1]
    narrow = np.where(reads < step, reads / scale[0], u)  # less than one block may be read as it is
    registers = _blocks(reads, REGISTER) * _blocks(gives, REGISTER) / (scale[0] * scale[1])
    ends, smooth = [reads / scale[0], gives / scale[1]], reads * gives / (scale[0] * scale[1])
    in_blocks = [one * ~uneven for one in (*ends, u, v, narrow, u * v, narrow * v, registers)]
    others = [one * uneven for one in (np.ones_like(u), *ends, smooth, u * v, registers)]
    off_step = [u * v * ~uneven * (channels % step != 0) for channels in (reads, gives)]
    return np.stack([np.ones_like(u), *in_blocks, *others, u * v * (gives % EVEN != 0), *off_step], axis=-1)


def _blocks(channels: np.ndarray, size: int) -> np.ndarray:
    return np.ceil(channels / size) * size


def step_of(widths: Sequence[int], times: Sequence[float], candidates: Sequence[int] = (2, 4, 8, 16, 32, 64)) -> int:
    """The multiple at which time jumps: 1 where it grows smoothly.

    Widths off a smaller multiple may run in another kernel, whose time grows smoothly: blocks of 16 may be filled only
    where a width is a multiple of 4. Both sorts of widths count alike, however many there are of each. Staircases have
    to come clearly nearer to the times than lines do; of those that do equally well the coarsest.
    """
    reads, seen = np.array(widths, dtype=float), np.array(times, dtype=float)

    def miss(step: int, even: int) -> float:
        uneven = reads % even != 0
        features = np.stack([~uneven, _blocks(reads, step) * ~uneven, uneven, reads * uneven], axis=1)
        errors = np.abs(features @ solved(features, seen) / seen - 1)
        return float(np.mean([errors[sort].mean() for sort in (uneven, ~uneven) if sort.any()]))

    lines = {even: miss(1, even) for even in EVENS}
    jump = min(lines, key=lines.__getitem__)
    if lines[jump] > SURELY * lines[1]:
        jump = 1
    stairs = {step: min(miss(step, even) for even in EVENS if even < step) for step in candidates}
    least = min(stairs.values())
    if least > CLEARLY * lines[jump]:
        return jump
    return max(step for step, found in stairs.items() if found <= ALIKE * least)


EVENS = (1, 2, 4, 8)
"""Multiples off which another kernel may run."""

CLEARLY = 0.93
"""A staircase is seen where it misses the times by less than this share of what a line does."""

SURELY = 0.75
"""The same for a kernel of its own, as two lines always come nearer than one."""

ALIKE = 1.25
"""Staircases that miss by no more than this times what the best one does are taken to be as good."""
