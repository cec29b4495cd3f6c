"""TIFF of any depth, any number of channels and pages, by tifffile. Knows nothing of what is asked for.

The orientation that a TIFF notes is a part of the format: its pixels are always given upright.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pruning_lab.data.formats.contract import Header, Stored
from pruning_lab.data.formats.orientation import SWAPPED, turned
from pruning_lab.data.formats.pictures import ORIENTATION, Pictures

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = 0, 1, 2, 3
"""PhotometricInterpretation (TIFF 6.0, page 37); other color spaces are left to Pillow, which converts them."""
NUMBERS = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE)
CHANNEL_AXES = "CS"
"""What OME, ImageJ and samples per pixel call channels; all other axes beside Y and X are pages."""
ALPHAS = (1, 2)
"""ExtraSamples that are opacity, premultiplied or not (TIFF 6.0, page 31)."""


class Tiffs:
    """Pages of one size, each of several samples, interleaved or not. Thumbnails and pyramids are no pages."""

    def header(self, path: Path) -> Header:
        """Return what the tags say."""
        with _file(path) as file:
            series = file.series[0]
            page = series.keyframe
            if page.photometric not in NUMBERS:
                # Pillow turns a TIFF, and not the other formats, by itself.
                return replace(Pictures().header(path), turned=1)
            sizes = dict(zip(series.axes, series.shape, strict=True))
            others = [len(more.pages) for more in file.series[1:] if not more.keyframe.is_reduced]
            pages = math.prod(sizes[axis] for axis in series.axes if axis not in "YX" + CHANNEL_AXES) + sum(others)
            channels = math.prod(sizes[axis] for axis in series.axes if axis in CHANNEL_AXES)
            kind = np.dtype(np.uint8) if page.dtype == np.bool_ else np.dtype(page.dtype).newbyteorder("=")
            if page.photometric == PALETTE:
                kind, channels = np.dtype(np.uint8), 3
            alpha = bool(page.extrasamples) and page.extrasamples[-1] in ALPHAS
            height, width = sizes["Y"], sizes["X"]
            if _orientation(page) in SWAPPED:
                height, width = width, height
            return Header(kind, height, width, channels, pages, alpha)

    def page(self, path: Path, number: int) -> Stored:
        """Return page `number` [H, W, C]; black is low, and palettes are colors of 8 bits."""
        with _file(path) as file:
            page = file.series[0].keyframe
            if page.photometric not in NUMBERS:
                return Pictures().page(path, number)
            pixels = _upright(_numbers(file, number), page)
            if page.photometric == PALETTE:
                return (page.colormap.T[pixels[..., 0]] // 256).astype(np.uint8)
            return pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels

    def values(self, path: Path, number: int) -> Stored:
        """Return page `number` as stored, [H, W, C]."""
        with _file(path) as file:
            page = file.series[0].keyframe
            return _upright(_numbers(file, number), page)


def _orientation(page: Any) -> int:
    noted = page.tags.get(ORIENTATION)
    return 1 if noted is None or not 1 <= int(noted.value) <= 8 else int(noted.value)


def _file(path: Path) -> Any:
    import tifffile

    return tifffile.TiffFile(path)


def _numbers(file: Any, number: int) -> Stored:
    """Return page `number` [H, W, C] as stored."""
    series = file.series[0]
    others = [axis for axis in series.axes if axis not in "YX" + CHANNEL_AXES]
    order = [*others, "Y", "X", *(axis for axis in series.axes if axis in CHANNEL_AXES)]
    count = math.prod(size for axis, size in zip(series.axes, series.shape, strict=True) if axis in others)
    if number >= count:
        raise ValueError(f"there is no page {number} of the size of the first")
    whole_pages = len(series.pages) == count and not set(series.keyframe.axes) - set("YX" + CHANNEL_AXES)
    if whole_pages and not (set(series.axes) - set(others)) - set(series.keyframe.axes):
        # Only the page asked for is decoded, for a stack of hundreds of them.
        page = series.pages[number]
        axes = series.keyframe.axes
        wanted = [axis for axis in order if axis not in others]
        pixels = page.asarray().transpose([axes.index(axis) for axis in wanted])
    else:
        whole = series.asarray().transpose([series.axes.index(axis) for axis in order])
        pixels = whole.reshape(count, *whole.shape[len(others) :])[number]
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))


def _upright(pixels: Stored, page: Any) -> Stored:
    """Return the same as a viewer shows it: turned as the file says, with black as the lowest value."""
    pixels = turned(pixels, _orientation(page))
    if page.photometric != WHITE_IS_ZERO:
        return pixels
    if pixels.dtype == np.bool_:
        return ~pixels
    if not np.issubdtype(pixels.dtype, np.unsignedinteger):
        return pixels
    return np.array(2**page.bitspersample - 1, pixels.dtype) - pixels
