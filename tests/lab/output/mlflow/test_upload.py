import shutil
from pathlib import Path

import mlflow
import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.journal import Journal
from pruning_lab.lab.output.mlflow import MlflowTracker, Uploaded, upload
from tests.lab.output.mlflow.stores import client_of, folder_of, started, stored


def uri_of(root: Path) -> str:
    return f"sqlite:///{root / 'mlflow.db'}"


def sent_again(root: Path, folder: Path) -> Uploaded:
    (journal,) = Journal.all_of(folder)
    return upload(journal, uri_of(root))


def forgotten(folder: Path) -> None:
    """As if the run had heard of no store."""
    for path in (folder / "tracking").glob("*.sent.json"):
        path.unlink()


def a_run(root: Path) -> MlflowTracker:
    tracker = started(root, {"seed": 1})
    folder = folder_of(tracker)
    (folder / "model").mkdir()
    (folder / "model" / "architecture.json").write_text("{}")
    for step in range(3):
        tracker.log_step(step, {"val/iou": 1 / (step + 3)})
    tracker.log_dataset("eyes", "0123456789abcdef" * 4, {"train": 200})
    tracker.log_model_folder(folder / "model")
    tracker.log_summary({"best/val_iou": 0.3})
    return tracker


@pytest.mark.slow
def test_a_store_that_has_everything_gets_nothing(shared_root: Path) -> None:
    tracker = a_run(shared_root)
    tracker.finish("FINISHED")
    assert sent_again(shared_root, folder_of(tracker)).nothing


def test_sending_everything_twice_leaves_what_sending_it_once_does(shared_root: Path) -> None:
    tracker = a_run(shared_root)
    tracker.finish("FINISHED")
    before = stored(shared_root, tracker).to_dictionary()
    forgotten(folder_of(tracker))
    done = sent_again(shared_root, folder_of(tracker))
    assert (done.entries, done.refused) == (8, ())
    assert stored(shared_root, tracker).to_dictionary() == before
    history = client_of(shared_root).get_metric_history(tracker.run_id, "val/iou")
    assert [(each.step, each.value) for each in history] == [(step, 1 / (step + 3)) for step in range(3)]


@pytest.mark.slow
def test_a_run_that_was_killed_is_marked_so(shared_root: Path) -> None:
    tracker = a_run(shared_root)
    assert stored(shared_root, tracker).info.status == "RUNNING"
    done = sent_again(shared_root, folder_of(tracker))
    assert done.mended
    run = stored(shared_root, tracker)
    assert run.info.status == "KILLED"
    assert run.info.end_time >= run.info.start_time
    assert sent_again(shared_root, folder_of(tracker)).nothing


@pytest.mark.slow
def test_a_folder_that_was_moved_goes_to_any_store(shared_root: Path, tmp_path: Path) -> None:
    tracker = a_run(tmp_path / "there")
    tracker.finish("FINISHED")
    folder = shutil.move(folder_of(tracker), tmp_path / "here")
    shutil.rmtree(tmp_path / "there")
    assert sent_again(shared_root, Path(folder)).entries == 8
    (journal,) = Journal.all_of(Path(folder))
    run = client_of(shared_root).get_run(journal.sent(uri_of(shared_root)).run_id)
    assert run.data.metrics == {"val/iou": 1 / 5, "best/val_iou": 0.3}
    assert run.info.status == "FINISHED"


@pytest.mark.slow
def test_what_was_refused_is_tried_again(shared_root: Path, tmp_path: Path) -> None:
    tracker = started(shared_root)
    late = folder_of(tracker) / "late.txt"
    tracker.log_artifact(late)
    tracker.finish("FINISHED")
    refused = sent_again(shared_root, folder_of(tracker))
    assert (refused.entries, len(refused.refused)) == (0, 1)
    late.write_text("here I am")
    assert sent_again(shared_root, folder_of(tracker)).entries == 1
    assert sent_again(shared_root, folder_of(tracker)).nothing


@pytest.mark.slow
def test_a_store_that_is_away_is_one_line(shared_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = a_run(shared_root)
    tracker.finish("FINISHED")
    (journal,) = Journal.all_of(folder_of(tracker))
    with pytest.raises(LabError, match=r"tracking\.uri: can't log to http://127\.0\.0\.1:9 "):
        upload(journal, "http://127.0.0.1:9")


@pytest.mark.slow
def test_a_model_is_a_logged_model_with_its_metrics_and_has_its_place_in_the_registry(
    shared_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = started(shared_root, register="nets")
    tracker.log_dataset("eyes", "0123456789abcdef" * 4, {"train": 200})
    folder = folder_of(tracker)
    (folder / "model").mkdir()
    (folder / "model" / "architecture.json").write_text("{}")
    tracker.log_model_folder(folder / "model")
    tracker.log_summary({"best/val_iou": 0.3})
    tracker.finish("FINISHED")
    client = client_of(shared_root)
    (output,) = stored(shared_root, tracker).outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert (model.name, str(model.status), model.source_run_id) == ("model", "READY", tracker.run_id)
    assert [(each.key, each.value, each.dataset_name) for each in model.metrics] == [("best/val_iou", 0.3, "eyes")]
    assert '"name": "nets"' in model.tags["mlflow.modelVersions"]
    (version,) = client.search_model_versions("name = 'nets'")
    assert (version.run_id, version.source) == (tracker.run_id, model.artifact_location)
    place = shared_root / "mlartifacts" / "models" / model.model_id / "artifacts"
    assert [path.name for path in place.iterdir()] == ["architecture.json"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri_of(shared_root))
    copy = mlflow.artifacts.download_artifacts(f"runs:/{tracker.run_id}/model")
    assert [path.name for path in Path(copy).iterdir()] == ["architecture.json"]
    forgotten(folder)
    sent_again(shared_root, folder)
    assert len(client.search_model_versions("name = 'nets'")) == 1
    assert len(stored(shared_root, tracker).outputs.model_outputs) == 1
