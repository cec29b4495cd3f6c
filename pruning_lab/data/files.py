"""Reads images and masks from files, and tells a user which file is wrong and why. Knows no folder layout."""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from pruning_lab.common.errors import LabError
from pruning_lab.data.contract import Image, Mask
from pruning_lab.data.digests import content_digests

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
LARGEST_CLASS = 255
UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, Pillow.DecompressionBombError)
"""What Pillow raises for a file that is missing, cut short, garbled or no picture."""


@dataclass(frozen=True)
class FilePair:
    """An image file and the file of its mask; `label` is how messages and pictures call the two."""

    image: Path
    mask: Path
    label: str


class FileSplit:
    """A split read from files, each when it is asked for, and resized to `size` (height, width).

    `mask_values` says which class (or ignore index) each value in the mask files means; without it the values
    are the classes. `values_found` tells, for each index read so far, which classes its mask had before it
    was resized. Raises LabError naming the file that can't be read or does not fit.
    """

    def __init__(
        self, pairs: Sequence[FilePair], size: tuple[int, int], mask_values: Mapping[int, int] | None = None
    ) -> None:
        self.pairs = tuple(pairs)
        self.size = size
        self.mask_values = None if mask_values is None else dict(mask_values)
        self.values_found: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Image, Mask]:
        pair = self.pairs[index]
        image = read_image(pair.image)
        mask = translate(read_mask(pair.mask), self.mask_values, pair.mask)
        if image.shape[:2] != mask.shape:
            raise LabError(
                f"{pair.mask} is {mask.shape[1]} x {mask.shape[0]} pixels, but its image {pair.image.name} "
                f"is {image.shape[1]} x {image.shape[0]}: make the two the same size"
            )
        self.values_found[index] = present_values(mask)
        return resized(image, mask, self.size)

    def label(self, index: int) -> str:
        """Return the label of the pair, a path relative to the data's root."""
        return self.pairs[index].label


def read_image(path: Path) -> Image:
    """Return uint8 [H, W, 3] RGB, pixels in the order in which they are stored, 16-bit greys as 8 bits.

    A rotation noted in the EXIF of a JPEG or PNG is not applied, because masks carry no such note.
    """
    try:
        with Pillow.open(path) as opened:
            if not opened.mode.startswith("I"):
                return np.array(opened.convert("RGB"))
            deep = np.array(opened)
    except UNREADABLE as problem:
        raise LabError(unreadable(path, problem)) from problem
    grey = (np.clip(deep, 0, 2**16 - 1) // 257).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def read_mask(path: Path) -> NDArray[np.int32]:
    """Return int32 [H, W] as stored: grey values, or the indices (not the colors) of a palette.

    A color picture is taken as grey if its channels agree; otherwise LabError asks for class indices.
    """
    try:
        with Pillow.open(path) as opened:
            values = np.array(opened)
    except UNREADABLE as problem:
        raise LabError(unreadable(path, problem)) from problem
    if values.ndim == 3:
        colors = values[..., : 1 if values.shape[2] == 2 else 3]
        if not (colors == colors[..., :1]).all():
            raise LabError(f"{path} is a color picture: save masks with one channel that holds the class of each pixel")
        values = colors[..., 0]
    if not np.issubdtype(values.dtype, np.integer) and values.dtype != np.bool_:
        raise LabError(f"{path} holds {values.dtype} numbers: save masks as whole numbers, the class of each pixel")
    return values.astype(np.int32)


def unreadable(path: Path, problem: Exception) -> str:
    """Return the line that says that `path` can't be read, and what to do."""
    reason = "it does not exist" if isinstance(problem, FileNotFoundError) else "it is damaged or no image"
    return f"can't read {path}: {reason}; restore the file, or take it out together with its partner"


def translate(values: NDArray[np.int32], mask_values: Mapping[int, int] | None, path: Path) -> Mask:
    """Return uint8 [H, W]: `values` looked up in `mask_values`, or as they are if that is None."""
    present = present_values(values)
    if mask_values is None:
        if present[0] < 0 or present[-1] > LARGEST_CLASS:
            raise LabError(f"{path} holds values from {present[0]} to {present[-1]}: classes are 0 to {LARGEST_CLASS}")
        return values.astype(np.uint8)
    unknown = [value for value in present if value not in mask_values]
    if unknown:
        raise LabError(f"{path} holds the value {unknown[0]}, which data.mask_values does not list: add it there")
    translated = np.zeros(values.shape, np.uint8)
    for value in present:
        translated[values == value] = mask_values[value]
    return translated


def present_values(mask: NDArray[np.integer]) -> list[int]:
    """Return the values in `mask` in rising order, quickly if they all are below 2**16."""
    if mask.size and mask.min() >= 0 and mask.max() < 2**16:
        found: list[int] = np.flatnonzero(np.bincount(mask.ravel())).tolist()
        return found
    values: list[int] = np.unique(mask).tolist()
    return values


def resized(image: Image, mask: Mask, size: tuple[int, int]) -> tuple[Image, Mask]:
    """Return both at `size` (height, width): the image by area or linearly, the mask by its nearest pixel."""
    if image.shape[:2] == size:
        return image, mask
    height, width = size
    smaller = image.shape[0] >= height and image.shape[1] >= width
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    picture = cv2.resize(image, (width, height), interpolation=how)
    classes = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(picture, np.uint8), np.asarray(classes, np.uint8)


def identity(splits: Mapping[str, Sequence[FilePair]], memory: Path | None = None) -> str:
    """Return 32 hex digits of the labels and the whole content of all files by split; not of their dates.

    `memory` is the file in which digests of files are remembered, see `content_digests`.
    """
    files = [path for pairs in splits.values() for pair in pairs for path in (pair.image, pair.mask)]
    digests = content_digests(files, memory)
    facts = {
        name: [(pair.label, digests[pair.image], digests[pair.mask]) for pair in pairs]
        for name, pairs in splits.items()
    }
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()
