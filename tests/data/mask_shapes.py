"""A table of mask files as people have them: how each is written, what is said of it, and the classes it must give."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from tests.data.shapes import SIZE, Write, array, dicom, nifti, opencv, pillow, tiff

CLASSES = np.random.default_rng(5).integers(0, 3, SIZE).astype(np.uint8)
BINARY = (CLASSES > 0).astype(np.uint8)
COLORS = np.array([[0, 0, 0], [128, 0, 0], [0, 200, 64]], np.uint8)
PAINTED = COLORS[CLASSES]
IDS = np.where(BINARY, np.random.default_rng(6).integers(1, 900, SIZE), 0).astype(np.uint16)
OPAQUE = np.dstack([PAINTED, np.full(SIZE, 255, np.uint8)])
LISTED = {"mask_colors": COLORS.tolist()}
NAMED = {"mask_colors": {"#000000": 0, "#800000": 1, "00C840": 2}}
BLACK_AND_WHITE = {"mask_values": {0: 0, 255: 1}}
OBJECTS = {"mask_values": {0: 0, 1: 1}, "mask_nearest": True}


@dataclass(frozen=True)
class MaskShape:
    """A row: the file's name, what writes it, the classes [H, W] it must give, and options of `data`."""

    name: str
    file: str
    write: Write
    expected: np.ndarray
    options: dict[str, Any] = field(default_factory=dict)


def palette(path: Path) -> None:
    picture = Pillow.fromarray(CLASSES)
    picture.putpalette([*COLORS.ravel().tolist()])
    picture.save(path)


MASKS = [
    MaskShape("class indices", "a.png", pillow(CLASSES), CLASSES),
    MaskShape("a palette's indices", "a.png", palette, CLASSES),
    MaskShape("a palette's indices, GIF", "a.gif", palette, CLASSES),
    MaskShape("a palette's colors", "a.png", palette, CLASSES, LISTED),
    MaskShape("1 bit", "a.png", pillow(BINARY > 0), BINARY),
    MaskShape("1 bit, TIFF", "a.tif", pillow(BINARY > 0, compression="group4"), BINARY),
    MaskShape("truth values, array", "a.npy", array(BINARY > 0), BINARY),
    MaskShape("grey saved as colors", "a.png", pillow(np.stack([CLASSES] * 3, axis=-1)), CLASSES),
    MaskShape("grey with opacity", "a.png", pillow(np.stack([CLASSES, CLASSES * 0 + 255], axis=-1)), CLASSES),
    MaskShape("black and white", "a.png", pillow(BINARY * np.uint8(255)), BINARY, BLACK_AND_WHITE),
    MaskShape("black and white, BMP", "a.bmp", pillow(BINARY * np.uint8(255)), BINARY, BLACK_AND_WHITE),
    MaskShape("an ignored value", "a.png", pillow(np.where(CLASSES == 2, 255, CLASSES).astype(np.uint8)),
              np.where(CLASSES == 2, 255, CLASSES), {"ignore_index": 255}),
    MaskShape("classes joined", "a.png", pillow(CLASSES), BINARY, {"mask_values": {0: 0, 1: 1, 2: 1}}),
    MaskShape("16 bits", "a.png", opencv(CLASSES.astype(np.uint16) * 1000), CLASSES,
              {"mask_values": {0: 0, 1000: 1, 2000: 2}}),
    MaskShape("int32 TIFF", "a.tif", tiff(CLASSES.astype(np.int32) - 1), CLASSES, {"mask_values": {-1: 0, 0: 1, 1: 2}}),
    MaskShape("int64 array", "a.npy", array(CLASSES.astype(np.int64)), CLASSES),
    MaskShape("array [1, H, W]", "a.npy", array(CLASSES[None]), CLASSES),
    MaskShape("LZW TIFF", "a.tif", tiff(CLASSES, compression="lzw"), CLASSES),
    MaskShape("numbered objects", "a.tif", tiff(IDS), BINARY, OBJECTS),
    MaskShape("numbered objects, PNG", "a.png", opencv(IDS), BINARY, OBJECTS),
    MaskShape("colors by list", "a.png", pillow(PAINTED), CLASSES, LISTED),
    MaskShape("colors by hexadecimal", "a.png", pillow(PAINTED), CLASSES, NAMED),
    MaskShape("colors with opacity", "a.png", pillow(OPAQUE), CLASSES, LISTED),
    MaskShape("colors, TIFF", "a.tif", tiff(PAINTED, photometric="rgb"), CLASSES, LISTED),
    MaskShape("colors, WebP", "a.webp", pillow(PAINTED, lossless=True), CLASSES, LISTED),
    MaskShape("colors a little off", "a.png", pillow(PAINTED + np.uint8(9)), CLASSES, {**LISTED, "mask_nearest": True}),
    MaskShape("an ignored color", "a.png", pillow(PAINTED), np.where(CLASSES == 2, 255, CLASSES),
              {"mask_colors": {"#000000": 0, "#800000": 1, "#00c840": 255}, "ignore_index": 255}),
    MaskShape("grey as colors", "a.png", pillow(BINARY * np.uint8(255)), BINARY,
              {"mask_colors": [[0, 0, 0], [255, 255, 255]]}),
    MaskShape("NIfTI", "a.nii.gz", nifti(CLASSES.T[..., None]), CLASSES),
    MaskShape("NIfTI of whole numbers as floats", "a.nii.gz", nifti(CLASSES.T[..., None].astype(np.float64)), CLASSES),
    MaskShape("DICOM", "a.dcm", dicom(CLASSES.astype(np.uint16)), CLASSES),
]  # fmt: skip
