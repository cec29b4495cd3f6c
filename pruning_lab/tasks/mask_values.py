"""What predicted classes are written as: indices, or the values or colors of a data set's own masks. Reads none."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically
from pruning_lab.data.masks import colors_table

KINDS = ("classes", "data")
LARGEST_VALUE = 65535
"""Of a PNG's pixels."""


def as_png(pixels: NDArray[Any]) -> bytes:
    """Pixels [H, W] or [H, W, 3] as the content of a PNG file."""
    content = io.BytesIO()
    Picture.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@dataclass(frozen=True)
class MaskWriter:
    """Writes masks as PNG.

    Attributes:
        table: what each class becomes: a row of one value, or of a color's three [classes, 1 or 3]; None: its index.
    """

    table: NDArray[np.uint16] | None = None

    def write(self, mask: NDArray[np.uint8], path: Path) -> None:
        """Write class indices [H, W]. Raises LabError for a class of which the table says nothing."""
        write_atomically(path, as_png(self.translated(mask)))

    def translated(self, mask: NDArray[np.uint8]) -> NDArray[Any]:
        """What stands for class indices [H, W]: uint8 or uint16 [H, W], or colors uint8 [H, W, 3]."""
        if self.table is None:
            return mask
        if mask.max() >= len(self.table):
            raise LabError(
                f"task.values=data: the run's masks have no value for class {int(mask.max())}; use task.values=classes"
            )
        rows = self.table if self.table.max() > 255 else self.table.astype(np.uint8)
        return rows[mask][..., 0] if rows.shape[1] == 1 else rows[mask]

    def in_words(self, names: Sequence[str]) -> str:
        """Say which value means which class."""
        if not names:
            return "class indices" if self.table is None else "the data's own values"
        known = len(names) if self.table is None else min(len(names), len(self.table))
        return ", ".join(f"{self._value(index)} {names[index]}" for index in range(known))

    def _value(self, index: int) -> str:
        row = [index] if self.table is None else self.table[index].tolist()
        return str(row[0]) if len(row) == 1 else f"#{row[0]:02x}{row[1]:02x}{row[2]:02x}"


def mask_writer(kind: str, data: Mapping[str, Any]) -> MaskWriter:
    """The writer that `task.values` asks for.

    Args:
        kind: `classes` or `data`.
        data: the group `data` of the run's config.

    Raises:
        LabError: it is neither, or the run's masks hold a value that a PNG can't, or none for some class.
    """
    if kind not in KINDS:
        raise LabError(f"task.values={kind} is neither classes (indices) nor data (as in the run's own masks)")
    colors, values = data.get("mask_colors"), data.get("mask_values")
    if kind == "classes" or (not colors and not values):
        return MaskWriter()
    if colors:
        found = {number: list(color) for color, number in reversed((colors_table(colors) or {}).items())}
    else:
        found = {int(number): [int(value)] for value, number in reversed(list(dict(values or {}).items()))}
    ignored = data.get("ignore_index")
    classes = sorted(number for number in found if number != ignored)
    if classes != list(range(len(classes))):
        raise LabError("task.values=data: the run's masks have no value for some class; use task.values=classes")
    rows = [found[number] for number in classes]
    if any(not 0 <= part <= LARGEST_VALUE for row in rows for part in row):
        raise LabError(f"task.values=data: {rows} can't be pixels of a PNG; use task.values=classes")
    return MaskWriter(np.array(rows, np.uint16))
