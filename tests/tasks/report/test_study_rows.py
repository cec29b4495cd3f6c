"""From run folders to rows: what is the same method, what repeats, what differs though it should not."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from pruning_lab.common.errors import LabError
from pruning_lab.tasks.report.run_search import find_runs
from pruning_lab.tasks.report.study_rows import StudyRow, read_records, study_rows, write_records
from tests.tasks.report.studies import IPAD, study_row, study_run

RANDOM = {"_target_": "pruning_lab.importance.Random"}


def rows_of(root: Path) -> list[StudyRow]:
    return study_rows(find_runs(str(root)).runs)[0]


def with_importance(folder: Path, choice: str | None, node: dict[str, Any], **more: Any) -> Path:
    """A run with a config of its importance."""
    study_run(folder, choice, **more)
    config = OmegaConf.load(folder / "config.yaml")
    config.importance = node
    OmegaConf.save(config, folder / "config.yaml")
    return folder


def test_a_row_tells_what_its_run_recorded(tmp_path: Path) -> None:
    study_run(tmp_path / "run", flops=0.25, iou=0.88)
    (row,) = rows_of(tmp_path)
    assert (row.base, row.data, row.model, row.method, row.budget) == ("3fa9", "nuclei", "unet", "ipad", "25 % FLOPs")
    assert (row.test_iou, row.val_iou, row.base_test_iou, row.base_val_iou) == (0.88, 0.87, 0.91, 0.89)
    assert (row.flops_fraction, row.weights_fraction, row.latency_fraction) == (0.25, 0.4, 0.6)
    assert row.score_seconds == pytest.approx(0.3)
    assert (row.score_images, row.steps, row.epochs, row.met, row.seed) == (64, 2, 12, 1, 1)


def test_seeds_never_make_a_method_of_their_own(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        with_importance(tmp_path / str(seed), "random", {**RANDOM, "seed": seed}, seed=seed)
    rows = rows_of(tmp_path)
    assert {row.method for row in rows} == {"random"}
    assert [row.seed for row in rows] == [1, 2, 3]


def test_methods_of_one_name_are_told_apart_by_what_differs_in_as_few_words_as_possible(tmp_path: Path) -> None:
    for omega in (0.3, 0.5):
        with_importance(tmp_path / f"{omega}", "ipad", {**IPAD, "omega": omega, "p": 1 if omega < 0.4 else 2})
    with_importance(tmp_path / "random", "random", RANDOM)
    assert [row.method for row in rows_of(tmp_path)] == ["ipad, omega=0.3", "ipad, omega=0.5", "random"]


def test_without_hydras_record_the_class_is_the_name(tmp_path: Path) -> None:
    with_importance(tmp_path / "run", None, RANDOM)
    (row,) = rows_of(tmp_path)
    assert (row.method, row.model) == ("Random", "UNet")


def test_another_setting_makes_another_method_and_is_told_for_all_runs_of_the_base(tmp_path: Path) -> None:
    study_run(tmp_path / "0")
    study_run(tmp_path / "1", seed=2, recovery={"epochs": 5, "final_epochs": 10})
    study_run(tmp_path / "2", "l1")
    study_run(tmp_path / "3", base_hash="other", recovery={"epochs": 9, "final_epochs": 10})
    rows = rows_of(tmp_path)
    assert [row.method for row in rows] == ["ipad, recovery.epochs=1", "ipad, recovery.epochs=5", "l1", "ipad"]
    assert [json.loads(row.differing) for row in rows] == [
        {"recovery.epochs": 1},
        {"recovery.epochs": 5},
        {"recovery.epochs": 1},
        {},
    ]


def test_a_faster_machine_is_told_but_is_the_same_method(tmp_path: Path) -> None:
    study_run(tmp_path / "0", threads=1)
    study_run(tmp_path / "1", seed=2, threads=4)
    rows = rows_of(tmp_path)
    assert [row.method for row in rows] == ["ipad", "ipad"]
    assert [json.loads(row.differing) for row in rows] == [{"threads": 1}, {"threads": 4}]


def test_what_a_study_varies_is_no_difference(tmp_path: Path) -> None:
    for number, flops in enumerate((0.5, 0.1)):
        promise = {"metric": "val/iou", "flops": flops}
        study_run(tmp_path / str(number), flops=flops, validation={"promise": promise}, name=f"study {number}")
    assert [row.differing for row in rows_of(tmp_path)] == ["{}", "{}"]
    study_run(tmp_path / "2", validation={"promise": {"metric": "val/dice", "flops": 0.5}})
    assert "validation.promise.metric" in rows_of(tmp_path)[0].differing


def test_a_run_that_was_made_again_counts_once(tmp_path: Path) -> None:
    study_run(tmp_path / "first", iou=0.8)
    study_run(tmp_path / "again", iou=0.9)
    os.utime(tmp_path / "first" / "card.json", (1, 1))
    rows, repeated = study_rows(find_runs([str(tmp_path / name) for name in ("first", "again")]).runs)
    assert [row.test_iou for row in rows] == [0.9]
    (why,) = repeated.values()
    assert why.startswith(str(tmp_path / "first"))
    assert "run again later" in why


def test_controls_carry_the_name_of_their_task_and_of_the_method_they_control(tmp_path: Path) -> None:
    run = study_run(tmp_path / "0", "l1")
    task = {"_target_": "pruning_lab.tasks.controls.scratch", "run": str(run), "same": "epochs"}
    study_run(tmp_path / "1", None, task=task)
    node = {"_target_": "pruning_lab.tasks.controls.random_at_widths", "run": str(run), "seed": 1}
    with_importance(tmp_path / "2", "random_at_widths", node)
    assert [row.method for row in rows_of(tmp_path)] == [
        "l1",
        "scratch of Ipad, same epochs",
        "random_at_widths of l1",
    ]


def test_rows_come_back_from_csv_as_they_were(tmp_path: Path) -> None:
    rows = [study_row("ipad, omega=0.3", differing='{"recovery.epochs": 1}'), study_row(iou=1 / 3)]
    path = write_records(tmp_path / "report.csv", StudyRow, rows)
    assert read_records(path, StudyRow) == rows


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [("test_iou", "iou", "line 2: there is no column test_iou"), ("0.91", "x", "line 2, column base_test_iou: 'x'")],
)
def test_a_broken_csv_is_named_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = write_records(tmp_path / "report.csv", StudyRow, [study_row()])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(LabError, match=rf"report\.csv, {told}"):
        read_records(path, StudyRow)
