"""What happened at each pruning step, one flat row per step. Knows the table of resources, and no model."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self, SupportsFloat

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically
from pruning_lab.resources.table import TABLE, column

Row = dict[str, float]

MILESTONES = (0.50, 0.25, 0.10)


class History:
    """The rows of a run, in the order of their steps; step 0 is the base.

    A row holds "step" and any metrics under the names of the tracking store: `resources/flops_fraction`,
    `val/iou`, `val/iou_before_recovery`, ... Rows need not have the same names.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    @property
    def names(self) -> list[str]:
        """Every name that any row has, in the order of first appearance; "step" leads."""
        return list(dict.fromkeys(["step", *(name for row in self.rows for name in row)]))

    def append(self, row: Mapping[str, SupportsFloat]) -> None:
        """Add the row of a step that is done.

        Raises ValueError if "step" is missing, or not after the last row's: a step is written once.
        """
        if "step" not in row:
            raise ValueError(f"a history row needs a 'step'; it has {', '.join(row) or 'nothing'}")
        step = int(float(row["step"]))
        if self.rows and step <= self.rows[-1]["step"]:
            raise ValueError(f"step {step} is not after step {self.rows[-1]['step']:g}, the last of the history")
        self.rows.append({name: float(value) for name, value in row.items()} | {"step": step})

    def column(self, name: str) -> list[float]:
        """Values of `name`, one per row, NaN where a row lacks it. Raises KeyError if no row has it."""
        if name not in self.names:
            raise KeyError(f"no row of the history has {name!r}; there are {', '.join(self.names)}")
        return [row.get(name, math.nan) for row in self.rows]

    def write(self, path: Path) -> None:
        """Write history.csv atomically: a header of all names, a line per step, an empty cell for none."""
        names = self.names
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        # repr keeps every bit, so that a history that is read back equals the one that was written.
        writer.writerows([repr(row[name]) if name in row else "" for name in names] for row in self.rows)
        write_atomically(path, text.getvalue())

    @classmethod
    def read(cls, path: Path) -> Self:
        """The history that `write` stored. Raises LabError naming the file, line and column at fault."""
        history = cls()
        try:
            with open(path, newline="", encoding="utf-8") as stream:
                for number, cells in enumerate(csv.DictReader(stream), start=2):
                    place = f"{path}, line {number}"
                    try:
                        history.append(_parse(cells, place))
                    except ValueError as error:
                        raise LabError(f"{place}: {error}; correct or delete the line") from error
        except OSError as error:
            raise LabError(f"{path}: can't be read ({error.strerror}); give the folder of a run") from error
        return history


def _parse(cells: Mapping[str | None, str | None], place: str) -> Row:
    row: Row = {}
    for name, cell in cells.items():
        if name is None or cell is None:
            raise LabError(f"{place}: not as many cells as the header has; correct or delete the line")
        if cell:
            try:
                row[name] = float(cell)
            except ValueError as error:
                raise LabError(f"{place}, column {name}: {cell!r} is not a number; correct the cell") from error
    return row


BEST = {"best/val_iou": "val/iou", **{f"best/{name}_fraction": column(name) for name in TABLE}, "best/step": "step"}
"""Summary metric -> column of the row whose model is kept."""

AT = {
    f"at/{each.name}_{milestone * 100:.0f}/val_iou": (each.column, milestone)
    for each in TABLE.values()
    if each.milestones
    for milestone in MILESTONES
}
"""Summary metric -> column, and the most that a row that counts may have there."""

ENDING = ("test/iou", "test/dice", "budget_met", "latency_ms", "latency_fraction", "base/val_iou", "base/test_iou")
"""Summary metrics that the end of a run adds."""

SUMMARY = (*BEST, *AT, *ENDING)
"""Every metric that can stand for a whole run."""


def summary(history: History, chosen: int) -> Row:
    """The few numbers that stand for a whole run in a table that compares runs.

    `chosen` is the index of the row whose model is kept; it gives `best/val_iou`, `best/flops_fraction`,
    `best/weights_fraction`, `best/step` and, where the row has them, `best/bytes_fraction`, `best/memory_fraction` and
    `best/latency_fraction`. `at/flops_50/val_iou` is the best score with at most half of the base's FLOPs, so that the
    final recovery counts, and so on for 25 and 10 percent and for weights; what was not reached is absent.
    """
    best = history[chosen]
    result = {short: best[name] for short, name in BEST.items() if name in best}
    for short, (name, limit) in AT.items():
        scores = [row["val/iou"] for row in history if row.get(name, math.inf) <= limit and "val/iou" in row]
        if scores:
            result[short] = max(scores)
    return result
