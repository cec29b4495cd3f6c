"""NumPy's own .npy files: [H, W], [H, W, C] or [C, H, W]. Never unpickles anything."""

import threading
from pathlib import Path

import numpy as np

from pruning_lab.common.errors import LabError
from pruning_lab.data.formats.contract import Header, Stored

_HEADERS = threading.Lock()
"""One header at a time: Python 3.11 counts in one place how deep the literals of all threads are (CPython's gh-106905),
and now and then raises SystemError where two of them read at once."""


class Arrays:
    """One image a file. Of three dimensions, the smaller of the first and the last are the channels."""

    def header(self, path: Path) -> Header:
        """Return shape and type, of the file's first bytes."""
        pixels = _array(path)
        return Header(pixels.dtype.newbyteorder("="), *pixels.shape)

    def page(self, path: Path, number: int) -> Stored:
        """Return the image [H, W, C]."""
        pixels = _array(path)
        return np.array(pixels, pixels.dtype.newbyteorder("="))

    def values(self, path: Path, number: int) -> Stored:
        """Return the mask [H, W, C]."""
        return self.page(path, number)


def _array(path: Path) -> Stored:
    with _HEADERS:
        pixels: Stored = np.load(path, mmap_mode="r", allow_pickle=False)
    if pixels.ndim == 2:
        return pixels[..., None]
    if pixels.ndim != 3 or (not np.issubdtype(pixels.dtype, np.number) and pixels.dtype != np.bool_):
        raise LabError(
            f"{path} holds {pixels.dtype} numbers of shape {pixels.shape}: save one image, [H, W] or [H, W, channels]"
        )
    return pixels.transpose(1, 2, 0) if pixels.shape[0] < pixels.shape[2] else pixels
