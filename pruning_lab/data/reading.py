"""How an image file becomes an image: pages, channels, scale, orientation. Knows no masks, no splits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pruning_lab.common.errors import LabError
from pruning_lab.data.contract import Image
from pruning_lab.data.formats import Header, header_of, page_of
from pruning_lab.data.formats.contract import AXES, Axis, Stored
from pruning_lab.data.scaling import Scale, ScaleRule, scale_rule

PAGES = ("channels", "images", "first")
ORIENTATIONS = ("stored", "upright")
GREY_AS = 3
"""Grey images get as many equal channels unless the user says otherwise: most networks are made for colors."""
MEGAPIXELS = 178.0
"""Pillow's own limit (2 x 89,478,485 pixels), past which a file may be made to fill the memory."""


@dataclass(frozen=True)
class Reading:
    """What a user may say about how images are read; see conf/data/folder.yaml for each key."""

    channels: int | Sequence[int] | None = None
    scale: Any = None
    pages: str | None = None
    orientation: str | None = None
    megapixels: float = MEGAPIXELS
    axis: Axis = "z"

    def __post_init__(self) -> None:
        wanted = self.channels
        numbers = [wanted] if wanted is None or isinstance(wanted, int) else list(wanted)
        least = 1 if isinstance(wanted, int) else 0
        if not numbers or any(type(n) is not int or n < least for n in numbers if wanted is not None):
            raise LabError(
                f"data.channels is {wanted}: give how many, which ones (counted from 0, e.g. [3, 0]), or null"
            )
        for key, value, known in (("pages", self.pages, PAGES), ("orientation", self.orientation, ORIENTATIONS)):
            if value is not None and value not in known:
                raise LabError(f"data.{key} is {value}: give {', '.join(known)} or null")
        if self.axis not in AXES:
            raise LabError(f"data.axis is {self.axis}: give {', '.join(AXES)}, along which a volume is sliced")
        if not self.megapixels > 0:
            raise LabError(
                f"data.megapixels is {self.megapixels}: give the largest image allowed, in millions of pixels"
            )
        self.rule()

    def rule(self) -> ScaleRule:
        """Return what `data.scale` means."""
        return scale_rule(self.scale)

    def facts(self) -> tuple[Any, ...]:
        """Return what makes other pixels of the same files, for the fingerprint."""
        chosen = self.channels if self.channels is None or isinstance(self.channels, int) else tuple(self.channels)
        along = () if self.axis == "z" else (self.axis,)
        return chosen, self.rule(), self.pages, self.orientation, *along

    def check(self, path: Path, header: Header) -> None:
        """Raise LabError for an image that is too large, of complex numbers, or of pages that were not spoken of."""
        if header.height * header.width * header.channels == 0:
            raise LabError(f"{path} has no pixels: restore the file, or take it out together with its mask")
        millions = header.height * header.width / 1e6
        if millions > self.megapixels:
            raise LabError(
                f"{path} has {header.width} x {header.height} pixels, more than data.megapixels={self.megapixels:g}: "
                f"set data.megapixels={math.ceil(millions)} if it is meant, or cut it into tiles"
            )
        if header.kind.kind not in "uifb":
            raise LabError(f"{path} holds {header.kind} numbers: save images as whole numbers or fractions")
        if header.pages > 1 and self.pages is None and not header.slices:
            raise LabError(
                f"{path} has {header.pages} pages: set data.pages=channels if they are channels of one image, "
                "data.pages=images if each is an image of its own, or data.pages=first"
            )

    def images_in(self, header: Header) -> int:
        """Return how many images a file with this header is."""
        each = self.pages == "images" or (self.pages is None and header.slices)
        return header.pages if each else 1


@dataclass(frozen=True)
class Channels:
    """Which channels an image gets: `count` of them, or those `chosen` by their number in the file."""

    count: int
    chosen: tuple[int, ...] | None = None

    def of(self, pixels: Stored, alpha: bool, path: Path) -> Stored:
        """Return [H, W, count] of pixels [H, W, C]. Raises LabError naming the file that has other channels."""
        there = pixels.shape[2]
        if self.chosen is not None:
            if max(self.chosen) >= there:
                raise LabError(
                    f"{path} has {there} channels, numbered 0 to {there - 1}: correct data.channels={list(self.chosen)}"
                )
            return pixels[..., list(self.chosen)]
        if there == self.count:
            return pixels
        if alpha:
            pixels = _without_opacity(pixels, path)
        if pixels.shape[2] == 1:
            return np.repeat(pixels, self.count, axis=2)
        if self.count == 1 and (pixels == pixels[..., :1]).all():
            return pixels[..., :1]
        if pixels.shape[2] != self.count:
            raise LabError(
                f"{path} has {there} channels, not {self.count}: convert it, or choose some by their numbers, e.g. "
                f"data.channels={list(range(min(there, self.count)))}"
            )
        return pixels


def channels_for(wanted: int | Sequence[int] | None, headers: dict[Path, Header], pages: str | None) -> Channels:
    """Return the channels of all images: as asked for, else as many as they have; grey ones get three.

    Raises LabError if they have different numbers of channels (grey ones among colors apart).
    """
    if isinstance(wanted, int):
        return Channels(wanted)
    if wanted is not None:
        return Channels(len(wanted), tuple(wanted))
    found: dict[int, Path] = {}
    for path, header in headers.items():
        found.setdefault((header.channels - header.alpha) * (header.pages if pages == "channels" else 1), path)
    grey = found.pop(1, None)
    if not found or (set(found) == {GREY_AS}):
        return Channels(GREY_AS)
    if len(found) > 1 or grey is not None:
        if grey is not None:
            found[1] = grey
        (few, one), *_, (many, other) = sorted(found.items())
        raise LabError(
            f"{one} has {few} channels, but {other} has {many}: convert some, or choose those that all have, e.g. "
            f"data.channels={list(range(few))}"
        )
    return Channels(next(iter(found)))


def read_stored(path: Path, page: int, header: Header, reading: Reading, channels: Channels) -> Stored:
    """Return the image [H, W, channels] at its own depth and as it is stored.

    Raises LabError naming a file that can't be read, or whose numbers are not all finite.
    """
    if reading.pages == "channels" and header.pages > 1:
        pixels = np.concatenate([page_of(path, number, reading.axis) for number in range(header.pages)], axis=2)
        pixels = channels.of(pixels, False, path)
    else:
        pixels = channels.of(page_of(path, page, reading.axis), header.alpha, path)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        what = "NaN" if np.isnan(pixels).any() else "infinite values"
        raise LabError(f"{path} holds {what}: fill in numbers there, or take it out together with its mask")
    return pixels


def read_image(
    path: Path, channels: int | Sequence[int] | None = None, scale: Scale | None = None, page: int = 0
) -> Image:
    """Return one image [H, W, C]: uint8 as stored, or float32 by `scale`; without one, other depths go by type.

    This is how a file that belongs to no data set is read, e.g. to predict its mask: `channels` and `scale` are those
    of the data set that the network was trained on.
    """
    header = header_of(path)
    reading = Reading(channels=channels, pages="first")
    reading.check(path, header)
    pixels = read_stored(path, page, header, reading, channels_for(channels, {path: header}, None))
    if scale is None:
        if pixels.dtype == np.uint8:
            return pixels
        scale, _ = scale_rule("type").scale(pixels.dtype, pixels.shape[2], (), 1)
    return scale.applied(pixels)


def _without_opacity(pixels: Stored, path: Path) -> Stored:
    """Return the channels before the last, which is opacity. Raises LabError if it says anything."""
    opacity = pixels[..., -1]
    if (opacity != opacity.flat[0]).any() or opacity.flat[0] == 0:
        there = pixels.shape[2]
        raise LabError(
            f"{path} has a channel of opacity that is not the same everywhere: set data.channels={there} to keep it as "
            f"a channel, or data.channels={list(range(there - 1))} to leave it out"
        )
    return pixels[..., :-1]
