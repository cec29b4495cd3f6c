"""What the study of healing has measured, kept in the repository: who has no run of it reads and goes on with it.

The folder `healing` has a table with a row for each run, and the bases that all runs start from: trained anew, on a
machine with other kernels, they would come out otherwise. Rows of another base are none of this study.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically
from tests.benchmarks.study_cells import Cell
from tests.benchmarks.study_tables import Result

RECORD = Path(__file__).with_name("healing")
RUNS, BASES = "runs.csv", "bases"
COLUMNS = ("data", "healing", "method", "compensation", "seed", "budget", "test_iou", "base_iou", "base", "commit")


def read_record(folder: Path = RECORD) -> list[Result]:
    """The rows, in their order; none where there is no table.

    Raises:
        LabError: a row is not what `write_record` writes.
    """
    path = folder / RUNS
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return [_result(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise LabError(f"{path}: a row can't be read ({error!r}); its columns are {', '.join(COLUMNS)}") from error


def write_record(results: Iterable[Result], folder: Path = RECORD) -> None:
    """Write rows, in the order of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in sorted(results, key=lambda one: (one.cell.name, -one.budget)):
        cell = one.cell
        own = (cell.data, cell.healing, cell.method, cell.compensation, cell.seed, f"{one.budget:g}")
        table.writerow((*own, f"{one.iou:.6f}", f"{one.base_iou:.6f}", one.base, one.commit))
    write_atomically(folder / RUNS, text.getvalue())


def share_bases(source: Path, target: Path, names: Collection[str]) -> None:
    """Copy the bases of these names from a folder to another one that lacks them."""
    for name in sorted(names):
        if (source / name / "base.json").is_file() and not (target / name).exists():
            shutil.copytree(source / name, target / name)


def joined(recorded: Sequence[Result], found: Sequence[Result], cells: Sequence[Cell]) -> list[Result]:
    """What was found, and what the record has besides of the same bases and of cells that the study still has."""
    bases = {one.cell.data: _base(one) for one in found}
    have = {(one.cell, one.budget) for one in found}
    wanted = set(cells)
    kept = [
        one
        for one in recorded
        if one.cell in wanted
        and (one.cell, one.budget) not in have
        and bases.get(one.cell.data, _base(one)) == _base(one)
    ]
    return [*found, *kept]


def done_in(results: Sequence[Result], cell: Cell) -> bool:
    """Whether all runs of a cell are among results."""
    have = {one.budget for one in results if one.cell == cell}
    return have.issuperset(cell.runs(Path()))


def _base(result: Result) -> tuple[str, str]:
    return result.base, f"{result.base_iou:.6f}"


def _result(row: dict[str, str]) -> Result:
    budget = float(row["budget"])
    own = (row["data"], row["method"], row["compensation"], row["healing"], int(row["seed"]))
    cell = Cell(*own, budget if row["method"] == "scratch" else None)
    return Result(cell, budget, float(row["test_iou"]), float(row["base_iou"]), row["base"], row["commit"])
