"""A split whose images and masks are files, each read when it is asked for. Knows no folder layout."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pruning_lab.common.errors import LabError
from pruning_lab.data.contract import Image, Mask
from pruning_lab.data.digests import content_digests
from pruning_lab.data.formats import Header, header_of
from pruning_lab.data.formats.contract import Stored
from pruning_lab.data.formats.orientation import turned
from pruning_lab.data.masks import MaskRules, present_values, translate
from pruning_lab.data.outlines import Drawing
from pruning_lab.data.reading import Channels, Reading, read_stored
from pruning_lab.data.scaling import Scale


@dataclass(frozen=True)
class FilePair:
    """An image file and the file of its mask; `label` is how messages and pictures call the two.

    `page` is the page of both files, for files that hold several images. With a `drawing` the mask is drawn from it,
    and `mask` is the file that it comes from.
    """

    image: Path
    mask: Path
    label: str
    page: int = 0
    drawing: Drawing | None = None

    def files(self) -> tuple[Path, Path]:
        """Return both files."""
        return self.image, self.mask


@dataclass(frozen=True)
class HowRead:
    """How all images of a data set are read; `scale` None keeps bytes as they are."""

    reading: Reading
    channels: Channels
    scale: Scale | None = None

    def stored(self, pair: FilePair, header: Header) -> Stored:
        """Return the image of a pair [H, W, channels] at its own depth, turned where the user asked for it."""
        pixels = read_stored(pair.image, pair.page, header, self.reading, self.channels)
        return turned(pixels, header.turned) if self.reading.orientation == "upright" else pixels

    def mask(self, pair: FilePair, rules: MaskRules) -> Mask:
        """Return the mask of a pair [H, W], turned by its own note where the user asked for it."""
        if pair.drawing is not None:
            return translate(pair.drawing.values(), rules.mask_values, pair.mask)
        mask = rules.mask_of(pair.mask, pair.page, self.reading.axis)
        if self.reading.orientation != "upright":
            return mask
        return turned(mask, header_of(pair.mask).turned)


class FileSplit:
    """A split read from files, each when it is asked for, and resized to `size` (height, width).

    Of each index read so far, `values_found` tells the classes in its mask and `range_found` the least and largest
    stored value of its image, both before resizing; `turned_found` holds those whose image was turned to fit its mask.
    Raises LabError naming the file that can't be read or does not fit.
    """

    def __init__(
        self,
        pairs: Sequence[FilePair],
        headers: Sequence[Header],
        size: tuple[int, int],
        how: HowRead,
        rules: MaskRules,
    ) -> None:
        self.pairs, self.headers = tuple(pairs), tuple(headers)
        self.size, self.how, self.rules = size, how, rules
        self.values_found: dict[int, list[int]] = {}
        self.range_found: dict[int, tuple[float, float]] = {}
        self.turned_found: set[int] = set()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Image, Mask]:
        pair, header = self.pairs[index], self.headers[index]
        pixels = self.how.stored(pair, header)
        mask = self.how.mask(pair, self.rules)
        if pixels.shape[:2] != mask.shape:
            pixels = self._fitted(index, pixels, mask.shape)
        self.values_found[index] = present_values(mask)
        self.range_found[index] = (float(pixels.min()), float(pixels.max()))
        return resized(pixels if self.how.scale is None else self.how.scale.applied(pixels), mask, self.size)

    def label(self, index: int) -> str:
        """Return the label of the pair, a path relative to the data's root."""
        return self.pairs[index].label

    def _fitted(self, index: int, pixels: Stored, wanted: tuple[int, ...]) -> Stored:
        """Return the image turned as its EXIF note says, if it fits its mask then."""
        pair, orientation = self.pairs[index], self.headers[index].turned
        upright = turned(pixels, orientation)
        if upright.shape[:2] == wanted and self.how.reading.orientation is None:
            self.turned_found.add(index)
            return upright
        height, width = pixels.shape[:2]
        raise LabError(
            f"{pair.mask} is {wanted[1]} x {wanted[0]} pixels, but its image {pair.image.name} is {width} x {height}: "
            "make the two the same size" + (f" (EXIF orientation {orientation})" if orientation != 1 else "")
        )


def resized(image: Image, mask: Mask, size: tuple[int, int]) -> tuple[Image, Mask]:
    """Return both at `size` (height, width): the image by area or linearly, the mask by its nearest pixel."""
    if image.shape[:2] == size:
        return image, mask
    height, width = size
    classes = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return resized_image(image, size), np.asarray(classes, np.uint8)


def resized_image(image: Image, size: tuple[int, int]) -> Image:
    """Return an image [H, W, C] at `size` (height, width): by area where it shrinks, else linearly."""
    if image.shape[:2] == size:
        return image
    height, width = size
    smaller = image.shape[0] >= height and image.shape[1] >= width
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    # OpenCV leaves out the axis of a single channel.
    picture = np.asarray(cv2.resize(image, (width, height), interpolation=how)).reshape(height, width, -1)
    return picture.astype(image.dtype, copy=False)


def digests_of(splits: Mapping[str, Sequence[FilePair]], memory: Path | None = None) -> dict[Path, str]:
    """Return a digest of the whole content of every file; `memory` remembers them, see `content_digests`."""
    return content_digests((path for pairs in splits.values() for pair in pairs for path in pair.files()), memory)


def identity(splits: Mapping[str, Sequence[FilePair]], digests: Mapping[Path, str]) -> str:
    """Return 32 hex digits of the labels and the whole content of all files by split; not of their dates."""
    facts = {
        name: [(pair.label, pair.page, *(digests[path] for path in pair.files())) for pair in pairs]
        for name, pairs in splits.items()
    }
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()
