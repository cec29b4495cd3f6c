"""What a file format is to the data sets: a header, and pages of pixels. Knows no format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Stored = NDArray[Any]
"""[H, W, C] of any type of numbers: pixels as they are in the file."""


Axis = Literal["x", "y", "z"]
"""The axis of a volume along which its slices are taken."""
AXES = get_args(Axis)


@dataclass(frozen=True)
class Header:
    """What is known of an image file before its pixels are decoded.

    `pages` counts the images in the file (slices of a volume, frames), all of `height` x `width` pixels and `channels`
    channels of `kind`; `alpha` says that the last channel is opacity; `turned` is the EXIF orientation, 1 (as stored)
    to 8; `slices` says that pages are slices of one volume, so that each is an image.
    """

    kind: np.dtype[Any]
    height: int
    width: int
    channels: int
    pages: int = 1
    alpha: bool = False
    turned: int = 1
    slices: bool = False


class Reader(Protocol):
    """One format. Whatever a method raises means that the file is damaged, but for LabError, which says more."""

    def header(self, path: Path) -> Header:
        """Return what the file says of itself, without decoding its pixels where the format allows it."""

    def page(self, path: Path, number: int) -> Stored:
        """Return page `number` as an image [H, W, C]: palettes become colors, nothing loses depth."""

    def values(self, path: Path, number: int) -> Stored:
        """Return page `number` as a mask is meant, [H, W] or [H, W, C]: the indices of a palette, not its colors."""
