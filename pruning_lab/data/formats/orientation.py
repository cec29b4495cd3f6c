"""Turns pixels as a note of the camera or the scanner says. Knows arrays, no files."""

import numpy as np

from pruning_lab.data.formats.contract import Stored

SWAPPED = (5, 6, 7, 8)
"""Orientations that make rows of columns."""


def turned(pixels: Stored, orientation: int) -> Stored:
    """Return pixels [H, W, ...] as a viewer shows them that heeds the EXIF orientation (1 to 8)."""
    if orientation in (2, 5, 7):
        pixels = pixels[:, ::-1]
    if orientation == 4:
        pixels = pixels[::-1]
    quarters = {3: 2, 5: 1, 6: -1, 7: -1, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(pixels, quarters))
