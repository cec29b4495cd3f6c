"""Three splits of pictures that are drawn when asked for, each from its number alone. Knows no scene."""

from collections.abc import Callable, Mapping
from hashlib import sha256

import numpy as np

from pruning_lab.common.errors import LabError
from pruning_lab.data.cache import Cached, MemoryBudget
from pruning_lab.data.contract import Image, Mask

SPLIT_NUMBERS = {"train": 0, "val": 1, "test": 2}

Draw = Callable[[np.random.Generator], tuple[Image, Mask]]
"""Draws one picture and its mask, by nothing but the generator."""


def drawn_splits(draw: Draw, counts: Mapping[str, int], seed: int, cache_mb: float) -> dict[str, Cached]:
    """Split -> its pictures; a picture does not depend on how many there are, nor on what was drawn before."""
    budget = MemoryBudget(cache_mb)
    return {name: Cached(Drawn(draw, count, (seed, SPLIT_NUMBERS[name])), budget) for name, count in counts.items()}


def first_pixels(splits: Mapping[str, Cached]) -> list[str]:
    """8 hex digits of the first picture of each split, which tell drawings of another version apart."""
    return [sha256(split[0][0].tobytes()).hexdigest()[:8] for split in splits.values()]


def check_drawing(counts: Mapping[str, int], shares: Mapping[str, float], sizes: Mapping[str, float]) -> None:
    """Check what a drawn data set is asked for.

    Args:
        counts: images of each split; shares: of images or of pixels; sizes: all that can't be negative.

    Raises:
        LabError: naming the argument that is out of range.
    """
    for key, count in counts.items():
        if count < 1:
            raise LabError(f"data.{key} is {count}: a split needs at least one image")
    for key, share in shares.items():
        if not 0 <= share <= 1:
            raise LabError(f"data.{key} is {share}: give a share, 0 to 1")
    for key, size in sizes.items():
        if size < 0:
            raise LabError(f"data.{key} is {size}: it can't be negative")


class Drawn:
    """A split of pictures, each drawn from `seeds` and its index alone."""

    def __init__(self, draw: Draw, count: int, seeds: tuple[int, ...]) -> None:
        self.draw, self.count, self.seeds = draw, count, seeds

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Image, Mask]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.draw(np.random.default_rng((*self.seeds, index)))

    def label(self, index: int) -> str:
        """Return the number of the picture, as they have no names."""
        return str(index)
