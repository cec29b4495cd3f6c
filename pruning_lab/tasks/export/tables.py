"""The table of an export: what each file is like, beside its base. Measures nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from pruning_lab.common.files import write_atomically
from pruning_lab.lab.output import units

BARE = "torch"
"""The row of the network itself, as PyTorch runs it."""


@dataclass(frozen=True)
class Row:
    """A file, or the network itself.

    Attributes:
        format, precision: see `ExportOptions`; the network itself is of the format `torch`.
        file: its name; empty for the network itself.
        sizes: of the images that it takes, in words.
        max_error, disagreement: see `Agreement`; None for the network itself.
        latency_ms, base_latency_ms: median of one pass over one image; None where there is no base.
        megabytes, base_megabytes: of the file, 10^6 bytes; of the network, its weights.
        val_iou: on the validation images; None where it was not measured.
    """

    format: str
    precision: str
    file: str
    sizes: str
    max_error: float | None
    disagreement: float | None
    latency_ms: float
    base_latency_ms: float | None
    megabytes: float
    base_megabytes: float | None
    val_iou: float | None


def write_rows(folder: Path, rows: Sequence[Row], facts: Mapping[str, object]) -> None:
    """Write export.csv, and export.json with what holds for all rows."""
    plain = [asdict(row) for row in rows]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(plain[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    write_atomically(folder / "export.csv", stream.getvalue())
    write_atomically(folder / "export.json", json.dumps({**facts, "files": plain}, indent=2) + "\n")


def rows_table(rows: Sequence[Row]) -> Table:
    """For the console; columns that are empty throughout are left out."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    cells = [_cells(row) for row in rows]
    shown = [name for name in cells[0] if any(row[name] for row in cells)]
    for name in shown:
        table.add_column(name, justify="left" if name in ("file", "images") else "right", overflow="fold")
    for row in cells:
        table.add_row(*(row[name] for name in shown))
    return table


def _cells(row: Row) -> dict[str, str]:
    return {
        "file": row.file or f"the network in {BARE}",
        "images": row.sizes,
        "max. error": "" if row.max_error is None else f"{row.max_error:.1e}",
        "class differs": "" if row.disagreement is None else units.percent(row.disagreement, 3),
        "latency": units.milliseconds(row.latency_ms),
        "base": "" if row.base_latency_ms is None else units.milliseconds(row.base_latency_ms),
        "MB": f"{row.megabytes:.2f}",
        "base MB": "" if row.base_megabytes is None else f"{row.base_megabytes:.2f}",
        "val. IoU": "" if row.val_iou is None else units.percent(row.val_iou, 2),
    }
