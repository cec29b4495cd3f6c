"""The study's record: what it has is not measured again, unless the base came out otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruning_lab.common.errors import LabError
from tests.benchmarks import study
from tests.benchmarks.study_cells import BUDGETS, Cell, all_cells
from tests.benchmarks.study_record import BASES, RECORD, RUNS, joined, read_record, share_bases, write_record
from tests.benchmarks.study_tables import Result

FIRST = Cell("eyes", "reconstruction", "least_squares", "full", 1)
SCRATCH = Cell("eyes", "scratch", "none", "full", 1, 0.1)


def rows_of(cell: Cell, base: str = "abc", base_iou: float = 0.875) -> list[Result]:
    budgets = BUDGETS if cell.budget is None else (cell.budget,)
    return [Result(cell, budget, 0.5 + budget / 4, base_iou, base, "1234567") for budget in budgets]


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = [*rows_of(FIRST), *rows_of(SCRATCH)]
    write_record(rows, tmp_path / "healing")
    assert read_record(tmp_path / "healing") == rows
    assert read_record(tmp_path / "none") == []


def test_bases_are_copied_where_they_are_missing(tmp_path: Path) -> None:
    for name, text in (("here/one", "a"), ("here/two", "b"), ("there/one", "c")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "base.json").write_text(text)
    (tmp_path / "here" / "three").mkdir()
    share_bases(tmp_path / "here", tmp_path / "there", {"one", "two", "three", "four"})
    assert [(tmp_path / "there" / name / "base.json").read_text() for name in ("one", "two")] == ["c", "b"]
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["one", "two"]


def test_what_the_record_has_is_not_run_again_but_for_the_widths_of_another_cell(tmp_path: Path) -> None:
    cells = [FIRST, SCRATCH, Cell("fields", "random", "norms", "full", 1)]
    assert study.missing(cells, tmp_path, [*rows_of(FIRST), *rows_of(SCRATCH)]) == [cells[2]]
    assert study.missing(cells, tmp_path, rows_of(FIRST)) == [cells[2], FIRST, SCRATCH]
    assert study.missing(cells, tmp_path, rows_of(FIRST)[1:]) == [FIRST, cells[2], SCRATCH]


@pytest.mark.parametrize("other", [{"base": "def"}, {"base_iou": 0.876}])
def test_rows_of_another_base_are_left_out(other: dict) -> None:
    second = Cell("eyes", "random", "norms", "full", 1)
    found = rows_of(FIRST)
    assert joined(rows_of(second), found, [FIRST, second]) == [*found, *rows_of(second)]
    assert joined(rows_of(second, **other), found, [FIRST, second]) == found


def test_rows_of_cells_that_the_study_has_no_more_are_left_out() -> None:
    gone = Cell("eyes", "of old", "norms", "full", 1)
    assert joined(rows_of(gone), rows_of(FIRST), [FIRST]) == rows_of(FIRST)


def test_a_broken_row_is_told(tmp_path: Path) -> None:
    (tmp_path / RUNS).write_text("data,budget\neyes,half\n")
    with pytest.raises(LabError, match=r"runs\.csv: a row can't be read"):
        read_record(tmp_path)


def test_the_committed_record_is_of_the_study() -> None:
    rows = read_record()
    assert {row.base for row in rows} == {path.parent.name for path in (RECORD / BASES).glob("*/base.json")}
    assert {row.cell for row in rows} <= set(all_cells())
    assert len({(row.cell, row.budget) for row in rows}) == len(rows)
