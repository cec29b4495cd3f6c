"""PNG, JPEG, BMP, WebP and GIF, by Pillow; 16-bit colors, which Pillow cuts to 8 bits, by imagecodecs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from pruning_lab.data.formats.contract import Header, Stored

ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held (Exif 2.32, table 4)."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHANNELS = {2: 3, 4: 2, 6: 4}
"""Color type -> channels (PNG specification, table 11.1), of those of several channels."""
DEEP = {"I": np.int32, "F": np.float32}
AS_THEY_ARE = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}

_opening = threading.Lock()


class Pictures:
    """Formats of one picture a file, most of them of 8 bits; frames of an animation are pages."""

    def header(self, path: Path) -> Header:
        """Return what the file says of itself; only its first bytes are read."""
        deep = _deep_color(path)
        with _opened(path) as picture:
            frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
            turned = int(picture.getexif().get(ORIENTATION, 1))
            turned = turned if 1 <= turned <= 8 else 1
            height, width = picture.height, picture.width
            if deep:
                return Header(np.dtype(np.uint16), height, width, deep, frames, deep != 3, turned)
            kind, channels = _kind(picture.mode)
            return Header(kind, height, width, channels, frames, picture.mode in ("LA", "RGBA"), turned)

    def page(self, path: Path, number: int) -> Stored:
        """Return frame `number`, [H, W, C] of uint8, uint16, int32 or float32."""
        if _deep_color(path):
            return _decode_png(path)
        with _opened(path) as picture:
            if number:
                picture.seek(number)
            mode = picture.mode
            if mode == "1":
                pixels = np.array(picture.convert("L"))
            elif mode in AS_THEY_ARE or mode.startswith("I") or mode in DEEP:
                pixels = np.array(picture)
            else:
                pixels = np.array(picture.convert("RGB"))
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def values(self, path: Path, number: int) -> Stored:
        """Return frame `number` with the indices of a palette, [H, W] or [H, W, C]."""
        if _deep_color(path):
            return _decode_png(path)
        with _opened(path) as picture:
            if number:
                picture.seek(number)
            return np.array(picture)


@contextmanager
def _opened(path: Path) -> Iterator[Pillow.Image]:
    """Open a picture of any size: how many pixels are too many is decided by who asks, from the header."""
    with _opening:
        limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            picture = Pillow.open(path)
        finally:
            Pillow.MAX_IMAGE_PIXELS = limit
    with picture:
        yield picture


def _kind(mode: str) -> tuple[np.dtype, int]:
    if mode.startswith("I;16"):
        return np.dtype(np.uint16), 1
    if mode in DEEP:
        return np.dtype(DEEP[mode]), 1
    return np.dtype(np.uint8), 1 if mode == "1" else AS_THEY_ARE.get(mode, 3)


def _deep_color(path: Path) -> int:
    """Return the number of channels if this is a PNG of several channels of 16 bits, else 0."""
    with path.open("rb") as file:
        start = file.read(26)
    if len(start) < 26 or not start.startswith(PNG_SIGNATURE) or start[24] != 16:
        return 0
    return PNG_CHANNELS.get(start[25], 0)


def _decode_png(path: Path) -> Stored:
    import imagecodecs

    pixels: Stored = imagecodecs.png_decode(path.read_bytes())
    return pixels
