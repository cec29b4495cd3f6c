import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pruning_lab.lab.output.journal import Journal
from pruning_lab.lab.output.mlflow import MlflowTracker, summarize, upload
from pruning_lab.lab.output.tracker import Sweep
from tests.lab.output.mlflow.stores import client_of, started, stored


def job(root: Path, place: Path, number: int) -> MlflowTracker:
    sweep = Sweep(place, "a sweep", {"model.seed": str(number)}, ["model.seed=0,1,2", "threads=1"])
    parameters = {"threads": 1, "model.seed": number}
    return started(root, parameters, folder=place / str(number), sweep=sweep, run_name=f"seed {number}")


def parent_of(root: Path, tracker: MlflowTracker) -> Run:
    return client_of(root).get_run(stored(root, tracker).data.tags["mlflow.parentRunId"])


def ended(tracker: MlflowTracker, score: float) -> None:
    tracker.log_summary({"best/val_iou": score, "best/flops_fraction": score / 2})
    tracker.finish("FINISHED")


@pytest.mark.slow
def test_jobs_of_a_sweep_stand_below_one_run_that_tells_of_all(shared_root: Path, tmp_path: Path) -> None:
    trackers = [job(shared_root, tmp_path, number) for number in range(3)]
    ended(trackers[0], 0.8)
    parent = parent_of(shared_root, trackers[0])
    assert parent.info.status == "RUNNING"
    assert parent.data.params == {"_seed": "0,1,2"}
    ended(trackers[1], 0.9)
    trackers[2].finish("FAILED", "no luck")
    parents = {parent_of(shared_root, tracker).info.run_id for tracker in trackers}
    assert parents == {parent.info.run_id}
    parent = parent_of(shared_root, trackers[2])
    assert (parent.info.run_name, parent.info.status) == ("a sweep", "FINISHED")
    counts = {"jobs/running": 0, "jobs/finished": 2, "jobs/failed": 1, "jobs/interrupted": 0}
    assert parent.data.metrics == counts
    told = parent.data.tags["mlflow.note.content"]
    assert told.index("seed 1 | &emsp;90.0 %") < told.index("seed 0 | &emsp;80.0 %") < told.index("- seed 2: no luck")
    artifacts = shared_root / "mlartifacts" / parent.info.run_id / "artifacts"
    assert (artifacts / "figures" / "pareto.png").is_file()
    assert len((artifacts / "tables" / "runs.csv").read_text().splitlines()) == 4


@pytest.mark.slow
def test_a_job_that_was_killed_before_its_first_row_is_interrupted(shared_root: Path, tmp_path: Path) -> None:
    trackers = [job(shared_root, tmp_path, number) for number in range(2)]
    ended(trackers[0], 0.8)
    (journal,) = Journal.all_of(tmp_path / "1")
    assert upload(journal, journal.about["address"]).mended
    assert stored(shared_root, trackers[1]).info.status == "KILLED"
    assert summarize(journal, journal.about["address"])
    parent = parent_of(shared_root, trackers[1])
    counts = {"jobs/running": 0, "jobs/finished": 1, "jobs/failed": 0, "jobs/interrupted": 1}
    assert (parent.info.status, parent.data.metrics) == ("FINISHED", counts)
    assert "1 interrupted" in parent.data.tags["mlflow.note.content"]
    assert upload(journal, journal.about["address"]).nothing


@pytest.mark.slow
def test_what_a_sweep_changes_leads_the_parameters(shared_root: Path, tmp_path: Path) -> None:
    tracker = job(shared_root, tmp_path, 7)
    parameters = stored(shared_root, tracker).data.params
    assert list(parameters) == ["_seed", "model.seed", "threads"]
    tracker.finish("FINISHED")


@pytest.mark.slow
def test_a_sweep_has_a_saved_view_of_its_own_runs(shared_root: Path, tmp_path: Path) -> None:
    tracker = job(shared_root, tmp_path, 1)
    parent = parent_of(shared_root, tracker).info
    name = f"sweep_{parent.run_id[:12]}"
    assert f"workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={name}" in tracker.address
    experiment = client_of(shared_root).get_experiment(parent.experiment_id)
    view = json.loads(experiment.tags[f"mlflow.sharedViewState.{name}"])
    assert view["searchFilter"] == f"tags.`mlflow.parentRunId` = '{parent.run_id}'"
    assert "params.`_seed`" in view["selectedColumns"]
    found = client_of(shared_root).search_runs([parent.experiment_id], view["searchFilter"])
    assert [run.info.run_id for run in found] == [tracker.run_id]
    tracker.finish("FINISHED")


@pytest.mark.slow
def test_a_run_above_that_somebody_deleted_is_made_again(shared_root: Path, tmp_path: Path) -> None:
    first = job(shared_root, tmp_path, 0)
    ended(first, 0.5)
    client_of(shared_root).delete_run(parent_of(shared_root, first).info.run_id)
    second = job(shared_root, tmp_path, 1)
    ended(second, 0.6)
    parent = parent_of(shared_root, second)
    assert parent.info.lifecycle_stage == "active"
    assert parent.data.metrics["jobs/finished"] == 2


@pytest.mark.slow
def test_a_summary_that_fails_does_not_fail_the_run(
    shared_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = job(shared_root, tmp_path, 0)
    monkeypatch.setattr(MlflowClient, "log_text", lambda *_, **__: 1 / 0)
    ended(tracker, 0.5)
    assert stored(shared_root, tracker).info.status == "FINISHED"
    assert "the sweep's summary lacks this run (division by zero)" in caplog.text
