"""The study of healing: its cells are jobs that the lab takes, it goes on where it stopped, its tests are paired."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.benchmarks import study
from tests.benchmarks.cells import run_cells
from tests.benchmarks.study_cells import BUDGETS, DATA, HEALING, METHODS, PEERS, Cell, all_cells
from tests.benchmarks.study_tables import Result, holm, paired, short_of, text_of
from tests.tasks.test_config import composed

FIRST = Cell("eyes", "reconstruction", "least_squares", "full", 1)
SCRATCH = Cell("eyes", "scratch", "none", "full", 1, 0.1)


class Job:
    """A job that has ended, with or without its runs."""

    returncode = 1

    def poll(self) -> int:
        return self.returncode


def finish(cell: Cell, root: Path) -> None:
    for folder in cell.runs(root).values():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "card.json").write_text(json.dumps({}))


def test_no_two_cells_share_a_folder_and_all_take_no_more_than_three_hours_of_two_cores() -> None:
    cells = all_cells()
    assert len({cell.name for cell in cells}) == len(cells)
    assert sum(cell.minutes for cell in cells) / 60 / 2 < 3
    assert {cell.data for cell in cells} == set(DATA)


def test_each_healing_has_the_best_peer_with_norms_measured_anew_and_ours_with_least_squares() -> None:
    for healing in HEALING:
        for method in (*[(peer, "norms") for peer in PEERS], ("reconstruction", "least_squares")):
            assert METHODS[method].get(healing, 0) >= (5 if healing == "full" else 2)


def test_a_study_that_is_cut_short_has_few_seeds_of_all() -> None:
    seeds = [cell.seed for cell in all_cells()]
    assert seeds == sorted(seeds)


@pytest.mark.parametrize(
    "cell",
    [
        FIRST,
        SCRATCH,
        Cell("nuclei", "reconstruction_gradient", "least_squares", "1 epoch", 2),
        Cell("eyes", "downstream_of_l1", "least_squares", "none", 1),
    ],
    ids=str,
)
def test_a_cells_command_composes(cell: Cell, tmp_path: Path) -> None:
    config = composed(*[one for one in cell.arguments(tmp_path, "x") if not one.startswith("hydra.")])
    assert config.seed == cell.seed
    if cell is SCRATCH:
        assert config.task.run == str(FIRST.runs(tmp_path)[0.1])
    else:
        assert tuple(config.task.limits) == BUDGETS


def test_what_is_done_is_not_run_again_and_what_needs_another_cell_waits_for_it(tmp_path: Path) -> None:
    cells = [SCRATCH, FIRST, Cell("eyes", "random", "norms", "full", 1)]
    finish(cells[2], tmp_path)
    started: list[Cell] = []

    def start(cell: Cell) -> Job:
        started.append(cell)
        finish(cell, tmp_path)
        return Job()

    left = study.missing(cells, tmp_path)
    assert run_cells(left, tmp_path, start, jobs=2, hours=1, say=lambda _: None) == []
    assert started == [FIRST, SCRATCH]
    assert study.missing(cells, tmp_path) == []


def test_a_cell_that_fails_is_told_and_holds_back_only_what_needs_it(tmp_path: Path) -> None:
    cells = [FIRST, SCRATCH, Cell("fields", "random", "norms", "full", 1)]
    told: list[str] = []

    def start(cell: Cell) -> Job:
        if cell is not FIRST:
            finish(cell, tmp_path)
        return Job()

    left = study.missing(cells, tmp_path)
    assert run_cells(left, tmp_path, start, jobs=2, hours=1, say=told.append) == [FIRST]
    assert any("ended with code 1" in line for line in told)
    assert study.missing(cells, tmp_path) == [FIRST, SCRATCH]


def test_no_job_starts_after_the_time(tmp_path: Path) -> None:
    told: list[str] = []
    assert run_cells([FIRST], tmp_path, lambda _: pytest.fail("started"), 2, hours=0, say=told.append) == []
    assert told == ["1 cells are left; the same command goes on with them"]


def test_differences_are_taken_seed_by_seed() -> None:
    ours, theirs = {1: 80.0, 2: 70.0, 3: 60.0}, {1: 79.0, 2: 68.5, 3: 59.0, 4: 99.0}
    test = paired(ours, theirs)
    assert (test.difference, test.seeds) == (pytest.approx(3.5 / 3), 3)
    assert test.p < 0.05  # an unpaired test sees a spread of ten points, and nothing else
    assert math.isnan(paired({1: 1.0}, theirs).p)
    assert paired({1: 80.0, 2: 69.5}, theirs).p == 0.0
    assert paired(theirs, theirs).p == 1.0


def test_p_values_are_corrected_as_holm_says() -> None:
    assert holm([0.04, 0.01, math.nan, 0.03]) == [
        pytest.approx(0.06),
        pytest.approx(0.03),
        pytest.approx(math.nan, nan_ok=True),
        pytest.approx(0.06),
    ]


def test_the_tables_name_the_best_and_hold_ours_against_the_best_peer() -> None:
    results = [
        Result(Cell("eyes", method, "norms", "none", seed), 0.5, iou + 0.001 * seed, 0.9)
        for method, iou in (("reconstruction", 0.8), ("peer_taylor", 0.75), ("peer_magnitude", 0.7), ("random", 0.85))
        for seed in (1, 2, 3)
    ]
    text = text_of(results)
    assert "| random | norms | **85.2 ± 0.1** |" in text
    assert "| eyes | none | 50 % | reconstruction-norms | peer_taylor-norms | +5.0 | 3 | 0.000 |" in text


def test_a_method_stands_beside_itself_with_what_lies_downstream() -> None:
    results = [
        Result(Cell("eyes", method, "least_squares", "none", seed), 0.5, iou, 0.9)
        for method, iou in (("l1", 0.6), ("downstream_of_l1", 0.7), ("downstream_of_taylor", 0.8))
        for seed in (1, 2)
    ]
    text = text_of(results)
    assert "| eyes | none | l1 | 60.0 / 70.0 |" in text
    assert "| eyes | none | taylor |" not in text


def test_the_command_tells_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none = ["--root", str(tmp_path), "--record", str(tmp_path / "none")]
    assert study.main(["--list", *none, "--data", "eyes", "--seeds", "1"]) == 0
    assert "cells are missing" in capsys.readouterr().out
    assert study.main(["--only-tables", *none]) == 1
    assert "no cell of the study has finished" in capsys.readouterr().err


def test_the_short_table_has_the_best_of_each_side_and_random_with_the_same_repair() -> None:
    results = [
        Result(Cell("eyes", method, compensation, "none", 1), 0.1, iou, 0.9)
        for method, compensation, iou in (
            ("reconstruction", "least_squares", 0.8),
            ("ipad", "least_squares", 0.82),
            ("peer_taylor", "norms", 0.75),
            ("peer_magnitude", "norms", 0.7),
            ("peer_fastnas", "norms", 0.99),
            ("random", "least_squares", 0.6),
        )
    ]
    assert "| eyes | none | 90.0 | **82.0** (ipad) | 75.0 (taylor) | 60.0 |" in short_of(results, 0.1)
    assert short_of(results, 0.5) == "No cell of a peer has finished."
