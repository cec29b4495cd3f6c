"""What a data set is to the rest of the lab: three splits and a few facts. Knows no file format, no model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pruning_lab.common.errors import LabError

Image = NDArray[np.uint8]
"""uint8 [H, W, 3], RGB."""
Mask = NDArray[np.uint8]
"""uint8 [H, W], a class index per pixel."""

SMALLEST_DEVIATION = 1e-3
"""A channel that never changes would otherwise be divided by zero."""


class Split(Protocol):
    """A sequence of images with their masks, all of one size. The same index always gives the same pixels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Image, Mask]:
        """Return image uint8 [H, W, 3] and mask uint8 [H, W]; callers don't write into either."""

    def label(self, index: int) -> str:
        """Say which one it is, as a person would look for it: a file name, or a number."""


@dataclass(frozen=True)
class SegmentationData:
    """Everything the lab asks about a data set. Every option of the config group `data` is one of these.

    `identity` is any text that changes whenever the images or masks do; `mean` and `std` are per channel, of
    pixels scaled to 0..1; `ignore_index` is the mask value that no loss and no metric counts.
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
        pixels = [split[int(index)][0].reshape(-1, 3) / 255 for index in chosen]
        measured_mean = np.mean([image.mean(axis=0) for image in pixels], axis=0)
        measured_square = np.mean([(image**2).mean(axis=0) for image in pixels], axis=0)
        measured_std = np.sqrt(np.maximum(measured_square - measured_mean**2, 0))
        mean = measured_mean.round(4).tolist() if mean is None else mean
        std = measured_std.round(4).tolist() if std is None else std
    for key, numbers in (("data.mean", mean), ("data.std", std)):
        if len(numbers) != 3:
            raise LabError(f"{key} has {len(numbers)} numbers: give three, for red, green and blue, or null")
    return tuple(float(x) for x in mean), tuple(max(float(x), SMALLEST_DEVIATION) for x in std)
