"""How wide each layer ended, as a file of the run's folder. Knows no network."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning_lab.checkpoint.architecture import ARCHITECTURE, read_architecture
from pruning_lab.common.files import write_atomically
from pruning_lab.lab.output.csv_rows import read_rows

WIDTHS_FILE = "widths.csv"


@dataclass(frozen=True)
class LayerWidth:
    """A layer's filters in the base, those left, those that had to stay (None: not known), and why it can't be cut."""

    layer: str
    filters: int
    left: int
    floor: int | None = None
    frozen: str = ""

    @property
    def fraction(self) -> float:
        """What is left of the base's filters."""
        return self.left / self.filters


def write_widths(run_folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write `widths.csv` from the rows that `tables.widths_rows` gives; returns its path."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = Path(run_folder) / WIDTHS_FILE
    write_atomically(path, stream.getvalue())
    return path


def read_widths(run_folder: Path) -> list[LayerWidth]:
    """What `write_widths` stored; in the folder of an older run, what its checkpoint knows of it; else nothing.

    Raises:
        LabError: the file is damaged.
    """
    path = Path(run_folder) / WIDTHS_FILE
    if not path.is_file():
        return _of_checkpoint(Path(run_folder) / "model")
    return read_rows(path, _layer, "the widths of layers")


def _of_checkpoint(folder: Path) -> list[LayerWidth]:
    if not (folder / ARCHITECTURE).is_file():
        return []
    layers = read_architecture(folder)["layers"]
    return [LayerWidth(name, layer["original"], layer["current"]) for name, layer in layers.items()]


def _layer(cells: Mapping[str, str]) -> LayerWidth:
    floor = int(cells["floor"]) if cells.get("floor") else None
    return LayerWidth(cells["layer"], int(cells["filters"]), int(cells["left"]), floor, cells.get("frozen") or "")
