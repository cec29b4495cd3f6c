"""Sizes that a network takes: padding by reflection, and tiles that overlap and are blended. Knows no network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

Place = tuple[int, int]
"""Top and left of a tile, in pixels."""
MULTIPLE = 32
"""What most encoders want sides to be a multiple of."""


def rounded_up(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The least height and width that are multiples of a number and hold `size`."""
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


def padded(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images [N, C, H, W] at `size`, reflected at their lower and right edges as often as it takes.

    An image of one pixel in a direction is repeated in it.
    """
    height, width = images.shape[-2:]
    if (height, width) == size:
        return images
    rows, columns = (_reflected(side, wanted) for side, wanted in ((height, size[0]), (width, size[1])))
    return images[..., rows.to(images.device), :][..., columns.to(images.device)]


def _reflected(side: int, wanted: int) -> Tensor:
    """0, 1, ..., side - 1, side - 2, ..., 1, 0, 1, ... up to `wanted` indices."""
    period = max(2 * (side - 1), 1)
    places = torch.arange(wanted) % period
    return torch.minimum(places, period - places) if side > 1 else torch.zeros_like(places)


def tile_side(length: int, most: int, overlap: int) -> int:
    """The least side of tiles that cover a length in as few of them as tiles of the side `most` do.

    It is a multiple of what networks ask for where that fits.
    """
    if length <= most:
        return length
    count = _count(length, most, overlap)
    least = -(-(length + (count - 1) * overlap) // count)
    return min(most, -(-least // MULTIPLE) * MULTIPLE)


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side: as few as overlap by `overlap` pixels at least, evenly spread."""
    if length <= tile:
        return [0]
    return [int(start) for start in np.linspace(0, length - tile, _count(length, tile, overlap)).round()]


def _count(length: int, tile: int, overlap: int) -> int:
    return -(-(length - overlap) // (tile - overlap))


def places(size: tuple[int, int], tile: tuple[int, int], overlap: int) -> Iterator[Place]:
    """The upper left corners of all tiles of an image."""
    for top in starts(size[0], tile[0], overlap):
        for left in starts(size[1], tile[1], overlap):
            yield top, left


class Blend:
    """Probabilities of a whole image from those of its tiles; where tiles overlap, the nearer to a tile's middle counts
    the more.

    Args:
        classes: how many.
        size: height and width of the image.
        tile: height and width of every tile.
        overlap: pixels along a tile's edge in which its weight rises from nearly 0 to 1.
    """

    def __init__(self, classes: int, size: tuple[int, int], tile: tuple[int, int], overlap: int) -> None:
        self._sum = torch.zeros(classes, *size)
        self._weight = torch.zeros(size)
        self._window = _ramp(tile[0], overlap)[:, None] * _ramp(tile[1], overlap)[None]

    def add(self, place: Place, probabilities: Tensor) -> None:
        """Take the probabilities [classes, H, W] of the tile at a place into account."""
        rows, columns = (slice(start, start + side) for start, side in zip(place, self._window.shape, strict=True))
        self._sum[:, rows, columns] += self._window * probabilities
        self._weight[rows, columns] += self._window

    def probabilities(self) -> Tensor:
        """Float32 [classes, H, W], on the CPU, after every tile was added."""
        return self._sum.div_(self._weight)


def _ramp(side: int, overlap: int) -> Tensor:
    """Weights along a tile's side, above 0 everywhere; at the image's own border they cancel out."""
    distance = torch.arange(1, side + 1)
    return (torch.minimum(distance, side + 1 - distance) / (overlap + 1)).clamp(max=1)
