"""What a data set is to the rest of the lab: three splits and a few facts. Knows no file format, no model."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pruning_lab.common.errors import LabError
from pruning_lab.data.scaling import Scale

Image = np.ndarray[Any, np.dtype[np.uint8 | np.float32]]
"""uint8 [H, W, C], or float32 [H, W, C] around 0..1. Three channels are RGB."""
Mask = NDArray[np.uint8]
"""uint8 [H, W], a class index per pixel."""

SMALLEST_DEVIATION = 1e-3
"""A channel that never changes would otherwise be divided by zero."""
SMALLEST_OF_FRACTIONS = 1e-6
"""Below that a channel of fractions never changes; above, it may use a small part of 0..1 only."""


class Split(Protocol):
    """A sequence of images with their masks, all of one size. The same index always gives the same pixels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Image, Mask]:
        """Return image uint8 or float32 [H, W, C] and mask uint8 [H, W]; callers don't write into either."""

    def label(self, index: int) -> str:
        """Say which one it is, as a person would look for it: a file name, or a number."""


@dataclass(frozen=True)
class SegmentationData:
    """Everything the lab asks about a data set. Every option of the config group `data` is one of these.

    `identity` is any text that changes whenever the images or masks do; `mean` and `std` are per channel, of
    pixels scaled to 0..1; `ignore_index` is the mask value that no loss and no metric counts. `scale` is how stored
    values became float32; None for bytes. `resized` says that images have another size in their files, and
    `file_size` is that size (height, width) where all files have the same. `about` says in one line what was read, for
    the user.
    """

    name: str
    class_names: tuple[str, ...]
    ignore_index: int | None
    train: Split
    val: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    identity: str
    channels: int = 3
    scale: Scale | None = None
    resized: bool = False
    file_size: tuple[int, int] | None = None
    about: str = ""

    def __post_init__(self) -> None:
        check_statistics("data.mean", self.mean, self.channels)
        check_statistics("data.std", self.std, self.channels)

    def split(self, name: str) -> Split:
        """Return the split called `name`; raises LabError unless it is train, val or test."""
        if name not in ("train", "val", "test"):
            raise LabError(f"there is no split {name!r}: use train, val or test")
        split: Split = getattr(self, name)
        return split

    def fingerprint(self) -> str:
        """Return 12 hex digits that are the same for the same data, read and normalized in the same way."""
        facts = (
            self.name,
            self.identity,
            self.class_names,
            self.ignore_index,
            self.mean,
            self.std,
            self.channels,
            self.scale,
        )
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def checked_size(size: Sequence[int], key: str = "data.size") -> tuple[int, int]:
    """Return `size` as (height, width) in pixels; raises LabError naming `key` if it is anything else."""
    numbers = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size,)
    if len(numbers) != 2 or not all(isinstance(number, int) and number > 0 for number in numbers):
        raise LabError(f"{key} is {size}: give [height, width] in pixels, e.g. [96, 128]")
    return numbers[0], numbers[1]


def channel_statistics(
    split: Split,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    most_images: int = 128,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of pixels scaled to 0..1; what is given stays as it is.

    What is not given is measured on at most `most_images` images, evenly spread over the split.
    """
    if mean is None or std is None:
        count = min(len(split), most_images)
        chosen = (np.arange(count) * len(split)) // max(count, 1)
        means, squares = [], []
        for index in chosen:
            image, _ = split[int(index)]
            full = 255 if image.dtype == np.uint8 else np.float64(1)
            pixels = image.reshape(-1, image.shape[2]) / full
            means.append(pixels.mean(axis=0))
            squares.append((pixels**2).mean(axis=0))
        measured_mean = np.mean(means, axis=0)
        measured_std = np.sqrt(np.maximum(np.mean(squares, axis=0) - measured_mean**2, 0))
        # Fractions may use a small part of 0..1 only, where four decimals would be too coarse.
        digits = 4 if full == 255 else 9
        for key, numbers in (("data.mean", mean), ("data.std", std)):
            if numbers is not None:
                check_statistics(key, numbers, len(measured_mean))
        mean = measured_mean.round(digits).tolist() if mean is None else mean
        std = measured_std.round(digits).tolist() if std is None else std
        least = SMALLEST_DEVIATION if digits == 4 else SMALLEST_OF_FRACTIONS
        std = [SMALLEST_DEVIATION if float(x) < least else x for x in std]
    assert mean is not None
    assert std is not None
    return tuple(float(x) for x in mean), tuple(float(x) if float(x) > 0 else SMALLEST_DEVIATION for x in std)


def check_statistics(key: str, numbers: Sequence[float], channels: int) -> None:
    """Raise LabError naming `key` unless there is a number for each channel, by which a std can divide."""
    if len(numbers) != channels:
        raise LabError(f"{key} has {len(numbers)} numbers: give {channels}, one for each channel, or null")
    if not all(map(math.isfinite, numbers)) or (key.endswith("std") and min(numbers) <= 0):
        above = " above 0" if key.endswith("std") else ""
        raise LabError(f"{key}={list(numbers)}: give a number{above} for each channel, or null")
