"""Finished runs are found wherever they are; all others are named."""

from pathlib import Path

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.common.marks import BEGUN, DONE, FAILED, write_mark
from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.run_folder import choices_of
from pruning_lab.tasks.report.run_search import find_runs
from tests.tasks.report.studies import record_choices, study_run


def test_runs_are_found_at_and_below_a_place_in_the_order_of_their_jobs(tmp_path: Path) -> None:
    for job in (10, 9, 0):
        study_run(tmp_path / "sweep" / str(job))
    (tmp_path / "sweep" / "notes").mkdir()
    assert [run.folder.name for run in find_runs(str(tmp_path)).runs] == ["0", "9", "10"]
    assert [run.folder.name for run in find_runs(str(tmp_path / "sweep" / "9")).runs] == ["9"]


def test_patterns_and_lists_are_understood_and_no_run_is_taken_twice(tmp_path: Path) -> None:
    for name in ("a1", "a2", "b1"):
        study_run(tmp_path / name)
    places = [str(tmp_path / "a*"), str(tmp_path / "?1")]
    assert [run.folder.name for run in find_runs(places).runs] == ["a1", "a2", "b1"]


def test_copies_in_the_tracking_store_are_no_runs(tmp_path: Path) -> None:
    study_run(tmp_path / "runs" / "one")
    study_run(tmp_path / "mlartifacts" / "copy" / "artifacts", importance=None)
    assert [run.folder.name for run in find_runs(str(tmp_path)).runs] == ["one"]


@pytest.mark.parametrize(
    ("missing", "why"), [("card.json", "card.json: can't be read"), ("history.csv", "history.csv: can't be read")]
)
def test_an_unfinished_run_is_left_out_and_named(tmp_path: Path, missing: str, why: str) -> None:
    study_run(tmp_path / "good")
    (study_run(tmp_path / "bad") / missing).unlink()
    found = find_runs(str(tmp_path))
    assert [run.folder.name for run in found.runs] == ["good"]
    (told,) = found.left_out.values()
    assert f"bad/{why}" in told


def test_what_a_run_says_of_itself_counts(tmp_path: Path) -> None:
    study_run(tmp_path / "good")
    for name in ("cut", "failed", "done"):
        write_mark(study_run(tmp_path / name), BEGUN, {"run_id": ""})
    write_mark(tmp_path / "failed", FAILED, {"reason": "no luck"})
    write_mark(tmp_path / "done", DONE, {"summary": {}})
    found = find_runs(str(tmp_path))
    assert {run.folder.name for run in found.runs} == {"good", "done"}
    assert sorted(why.rpartition("/")[2] for why in found.left_out.values()) == [
        "cut: it was cut short, and task=resume goes on with it",
        "failed: it failed: no luck",
    ]


def test_a_run_that_broke_off_before_its_final_recovery_is_left_out(tmp_path: Path) -> None:
    study_run(tmp_path / "good")
    broken = study_run(tmp_path / "broken") / "history.csv"
    history = History.read(broken)
    history.rows.pop()
    history.write(broken)
    assert ["broke off before its final recovery" in why for why in find_runs(str(tmp_path)).left_out.values()] == [
        True
    ]
    study_run(tmp_path / "none", recovery={"final_epochs": 0})
    (tmp_path / "none" / "history.csv").write_text(broken.read_text())
    assert {run.folder.name for run in find_runs(str(tmp_path)).runs} == {"good", "none"}


def test_inspections_and_reports_are_passed_over_in_silence(tmp_path: Path) -> None:
    study_run(tmp_path / "run")
    for task in ("inspect_task.inspect", "report_task.report"):
        folder = tmp_path / task
        folder.mkdir()
        record_choices(folder, {})
        (folder / "hydra" / "config.yaml").write_text(f"task:\n  _target_: pruning_lab.{task}\n")
    assert find_runs(str(tmp_path)).left_out == {}


def test_a_place_without_finished_runs_is_a_mistake_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"task\.runs=.*nowhere: there is no such folder"):
        find_runs(str(tmp_path / "nowhere"))
    (study_run(tmp_path / "bad") / "card.json").unlink()
    with pytest.raises(LabError, match=r"no finished run in .*bad.card\.json"):
        find_runs(str(tmp_path))


def test_without_hydras_record_there_are_no_choices(tmp_path: Path) -> None:
    assert choices_of(study_run(tmp_path / "library", importance=None)) == {}
    assert choices_of(study_run(tmp_path / "run", importance="l1"))["importance"] == "l1"
