import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pruning_lab.common.commit import git_commit
from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.mlflow import MlflowTracker, machine
from pruning_lab.lab.output.tracker import NoTracker, Opening, Tracker
from tests.lab.output.mlflow.stores import client_of, folder_of, started, stored
from tests.paths import ROOT

REPOSITORY = ROOT

CPU = "system/cpu_utilization_percentage"


@pytest.mark.slow
def test_importing_the_module_does_not_pay_for_mlflow() -> None:
    check = "import sys, pruning_lab.lab.output.mlflow; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=REPOSITORY).returncode == 0


def test_a_run_is_stored_with_its_parameters_tags_and_name(shared_root: Path) -> None:
    tracker = started(
        shared_root, {"seed": 1, "data.root": None, "deterministic": False, "lr": 3e-4}, run_name="unet_ipad"
    )
    run = stored(shared_root, tracker)
    assert run.data.params == {"seed": "1", "data.root": "null", "deterministic": "false", "lr": "0.0003"}
    assert run.data.tags["git_commit"] == "abc"
    assert run.info.run_name == "unet_ipad"
    assert run.info.status == "RUNNING"


def test_a_run_that_was_cut_short_is_opened_again(shared_root: Path) -> None:
    first = started(shared_root, {"seed": 1})
    first.log_step(0, {"val/iou": 0.9})
    first.finish("FAILED", "no luck")
    again = MlflowTracker()
    again.start(Opening(folder_of(first), shared_root, {"seed": 1}, {"git_commit": "later"}), first.run_id)
    assert again.run_id == first.run_id
    assert stored(shared_root, again).data.tags["failure"] == ""
    assert stored(shared_root, again).info.status == "RUNNING"
    again.log_step(1, {"val/iou": 0.8})
    again.finish("FINISHED")
    run = stored(shared_root, again)
    assert (run.info.status, run.data.params, run.data.tags["git_commit"]) == ("FINISHED", {"seed": "1"}, "abc")
    history = client_of(shared_root).get_metric_history(again.run_id, "val/iou")
    assert [metric.step for metric in history] == [0, 1]


def test_steps_are_logged_under_their_number(shared_root: Path) -> None:
    tracker = started(shared_root)
    for step, score in enumerate((0.9, 0.8)):
        tracker.log_step(step, {"val/iou": score, "resources/flops_fraction": 1 / (step + 1)})
    history = client_of(shared_root).get_metric_history(tracker.run_id, "val/iou")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.9), (1, 0.8)]


def test_a_step_is_one_call(shared_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = started(shared_root)
    calls: list[int] = []
    monkeypatch.setattr(MlflowClient, "log_batch", lambda *_, metrics, **__: calls.append(len(metrics)))
    tracker.log_step(1, {f"val/iou/class_{index}": 0.5 for index in range(50)})
    assert calls == [50]


def test_summary_metrics_and_the_status_are_stored(shared_root: Path) -> None:
    tracker = started(shared_root)
    tracker.log_summary({"best/val_iou": 0.87, "at/flops_50/val_iou": 0.9})
    tracker.finish("KILLED")
    run = stored(shared_root, tracker)
    assert run.data.metrics == {"best/val_iou": 0.87, "at/flops_50/val_iou": 0.9}
    assert run.info.status == "KILLED"
    assert not tracker.lost


def test_long_values_are_cut_where_mlflow_would(shared_root: Path) -> None:
    tracker = started(shared_root, {"long": "x" * 7000, "just": "y" * 6000})
    parameters = stored(shared_root, tracker).data.params
    assert parameters["long"] == "x" * 5999 + "…"
    assert parameters["just"] == "y" * 6000


def test_more_parameters_than_one_call_takes_are_all_stored(shared_root: Path) -> None:
    parameters = {f"p{index}": index for index in range(230)}
    tracker = started(shared_root, parameters)
    assert len(stored(shared_root, tracker).data.params) == 230


def test_names_that_mlflow_refuses_are_spelled_otherwise_and_stay_apart(shared_root: Path) -> None:
    tracker = started(shared_root, {"floors.down*": 1, "floors.down?": 2, "../up": 3})
    assert stored(shared_root, tracker).data.params == {"floors.down_": "1", "floors.down__": "2", "up": "3"}
    tracker.log_step(0, {"val/iou/sky (day)": 0.5, "val/iou": 0.6})
    assert stored(shared_root, tracker).data.metrics == {"val/iou/sky _day_": 0.5, "val/iou": 0.6}


def test_files_tables_and_the_model_are_artifacts_beside_the_store(shared_root: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "architecture.json").write_text("{}")
    (tmp_path / "score.png").write_bytes(b"png")
    tracker = started(shared_root)
    tracker.log_artifact(tmp_path / "score.png", "figures")
    tracker.log_table("widths", [{"step": 0, "conv1": 8}, {"step": 1, "conv1": 6, "conv2": 4}])
    tracker.log_model_folder(tmp_path / "model")
    folder = shared_root / "mlartifacts" / tracker.run_id / "artifacts"
    assert (folder / "figures" / "score.png").read_bytes() == b"png"
    assert (folder / "tables" / "widths.csv").read_text() == "step,conv1,conv2\n0,8,\n1,6,4\n"
    assert not tracker.lost


def test_the_data_set_is_an_input_of_the_run(shared_root: Path) -> None:
    tracker = started(shared_root)
    tracker.log_dataset("eyes", "0123456789abcdef" * 4, {"train": 200, "val": 60})
    (entry,) = stored(shared_root, tracker).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("eyes", "0123456789ab")
    assert json.loads(entry.dataset.profile) == {"train": 200, "val": 60}
    assert json.loads(entry.dataset.source)["fingerprint"] == "0123456789abcdef" * 4


def test_a_file_that_is_not_there_does_not_stop_the_run(shared_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = started(shared_root)
    tracker.log_artifact(shared_root / "nowhere.png")
    tracker.log_step(0, {"val/iou": 0.5})
    assert tracker.lost
    assert "nowhere.png could not be logged" in caplog.text
    assert stored(shared_root, tracker).data.metrics == {"val/iou": 0.5}


def test_a_relative_sqlite_address_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tracker = started(tmp_path / "unused", uri="sqlite:///here/lab.db")
    monkeypatch.chdir("/")
    tracker.log_table("widths", [{"step": 0}])
    assert (tmp_path / "here" / "lab.db").exists()
    assert (tmp_path / "here" / "mlartifacts" / tracker.run_id).exists()
    assert not (tmp_path / "unused" / "mlflow.db").exists()


@pytest.mark.parametrize("uri", ["mlruns", "/data/mlruns", "file:///data/mlruns"])
def test_a_plain_folder_is_refused_with_what_to_use_instead(tmp_path: Path, uri: str) -> None:
    with pytest.raises(LabError, match=r"tracking\.uri: .*plain folders such as .*use a database file"):
        started(tmp_path, uri=uri)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://127.0.0.1:9", "no usable answer"),
        (f"sqlite:///{Path(__file__).resolve()}", "file is not a database"),
        (f"sqlite:///{Path(__file__).resolve()}/folder/mlflow.db", "Not a directory"),
        ("gopher://somewhere", "unsupported URI"),
    ],
)
@pytest.mark.usefixtures("no_lock_left")
def test_a_store_that_cannot_be_used_is_one_line_at_the_start(tmp_path: Path, uri: str, reason: str) -> None:
    with pytest.raises(LabError) as caught:
        started(tmp_path, uri=uri)
    message = str(caught.value)
    assert message.startswith(f"tracking.uri: can't log to {uri}")
    assert reason in message
    assert "tracking=none" in message
    assert "\n" not in message


@pytest.fixture
def no_lock_left() -> Iterator[None]:
    yield
    Path(f"{__file__}.lock").unlink(missing_ok=True)


def test_a_password_in_the_address_is_not_printed(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"http://me:\*\*\*@127\.0\.0\.1:9 ") as caught:
        started(tmp_path, uri="http://me:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)


def test_a_deleted_experiment_is_named_with_how_to_restore_it(shared_root: Path) -> None:
    started(shared_root, experiment="old")
    client = client_of(shared_root)
    found = client.get_experiment_by_name("old")
    assert found is not None
    client.delete_experiment(found.experiment_id)
    with pytest.raises(LabError, match=rf"tracking\.experiment: 'old' was deleted.* -x {found.experiment_id}`"):
        started(shared_root, experiment="old")


def test_a_new_experiment_has_a_saved_view_of_the_score_against_flops(shared_root: Path) -> None:
    started(shared_root)
    found = client_of(shared_root).get_experiment_by_name("pruning_lab")
    assert found is not None
    assert found.tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(found.tags["mlflow.sharedViewState.iou_against_flops"])
    assert view["globalLineChartConfig"]["selectedXAxisMetricKey"] == "resources/flops_fraction"


class Server:
    """The few answers of an MLflow server that a run needs; it can go away and come back on the same port."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.port = 0

    def __enter__(self) -> "Server":
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer({"experiment": {"experiment_id": "7", "name": "x", "lifecycle_stage": "active"}})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path.endswith("log-batch"):
                    server.logged += body.get("metrics", [])
                self.answer({"run": {"info": {"run_id": "r1", "run_uuid": "r1"}}, "run_info": {"run_id": "r1"}})

            def answer(self, content: dict[str, Any]) -> None:
                text = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.http.server_port
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    @property
    def steps(self) -> list[int]:
        return [int(metric["step"]) for metric in self.logged]


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.mark.usefixtures("no_retries")
def test_a_run_goes_on_while_the_server_is_away_and_delivers_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    with server:
        tracker = started(tmp_path, uri=f"http://127.0.0.1:{server.port}")
        tracker.log_step(0, {"val/iou": 0.9})
    for step in (1, 2, 3):
        tracker.log_step(step, {"val/iou": 0.8})
    assert tracker.lost
    assert server.steps == [0]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "the run goes on" in warnings[0].getMessage()
    with server:
        tracker.finish("FINISHED")
    assert server.steps == [0, 1, 2, 3]
    assert not tracker.lost


@pytest.mark.usefixtures("no_retries")
def test_a_run_ends_well_when_the_server_stays_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Server() as server:
        tracker = started(tmp_path, uri=f"http://127.0.0.1:{server.port}")
    tracker.log_step(0, {"val/iou": 0.9})
    tracker.finish("FINISHED")
    assert tracker.lost
    assert "2 entries never reached it" in caplog.text


@pytest.mark.usefixtures("no_retries")
def test_a_run_whose_store_need_not_answer_begins_without_it(tmp_path: Path) -> None:
    server = Server()
    with server:
        pass
    tracker = started(tmp_path, uri=f"http://127.0.0.1:{server.port}", must_answer=False)
    tracker.log_step(0, {"val/iou": 0.9})
    assert (tracker.run_id, tracker.address, tracker.lost) == ("", "", True)
    with server:
        tracker.finish("FINISHED")
    assert (tracker.run_id, tracker.lost, server.steps) == ("r1", False, [0])


@pytest.mark.usefixtures("no_retries")
def test_a_run_that_can_not_begin_leaves_no_journal(tmp_path: Path) -> None:
    with pytest.raises(LabError):
        started(tmp_path, uri="http://127.0.0.1:9", folder=tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_step_that_is_taken_again_after_a_kill_is_in_the_store_once(shared_root: Path) -> None:
    tracker = started(shared_root)
    tracker.log_step(1, {"val/iou": 0.9, "cost/step_seconds": 3.0})
    again = MlflowTracker()
    again.start(Opening(folder_of(tracker), shared_root), "")
    again.log_step(1, {"val/iou": 0.9, "cost/step_seconds": 4.0})
    client = client_of(shared_root)
    assert again.run_id == tracker.run_id
    assert len(client.get_metric_history(again.run_id, "val/iou")) == 1
    assert [each.value for each in client.get_metric_history(again.run_id, "cost/step_seconds")] == [3.0, 4.0]
    again.finish("FINISHED")


def test_a_failure_is_told_with_its_reason(shared_root: Path) -> None:
    tracker = started(shared_root)
    tracker.finish("FAILED", "no luck")
    tags = stored(shared_root, tracker).data.tags
    assert tags["failure"] == "no luck"
    assert tags["mlflow.note.content"].startswith("**Failed**: no luck")


def test_a_run_tells_where_it_is_seen(shared_root: Path) -> None:
    tracker = started(shared_root)
    page = f"http://127.0.0.1:5000/#/experiments/1/runs/{tracker.run_id}?workflowType=machine_learning"
    assert tracker.address == f"{page} after mlflow ui --backend-store-uri sqlite:///{shared_root / 'mlflow.db'}"


@pytest.mark.parametrize(
    ("uri", "module", "mend"),
    [
        ("postgresql://me:secret@127.0.0.1:9/lab", "psycopg", "pip install 'pruning_lab[postgres]'"),
        ("postgresql+psycopg2://me:secret@127.0.0.1:9/lab", "psycopg2", "pip install 'pruning_lab[postgres]'"),
        ("mysql://me:secret@127.0.0.1:9/lab", "MySQLdb", "pip install mysqlclient"),
    ],
)
def test_a_driver_that_is_missing_is_one_line_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, module: str, mend: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LabError) as caught:
        started(tmp_path, uri=uri)
    shown = uri.replace("secret", "***")
    assert str(caught.value) == f"tracking.uri: {shown} needs the driver {module}: {mend}; or run with tracking=none"


def test_system_metrics_are_sampled_while_the_run_goes_on(shared_root: Path) -> None:
    pytest.importorskip("psutil")
    tracker = started(shared_root, system_metrics=0.05)
    deadline = time.monotonic() + 60
    while len(client_of(shared_root).get_metric_history(tracker.run_id, CPU)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    tracker.finish("FINISHED")
    samples = client_of(shared_root).get_metric_history(tracker.run_id, CPU)
    assert [sample.step for sample in samples] == list(range(len(samples)))


@pytest.mark.parametrize("value", [0, -1.0])
def test_system_metrics_need_seconds(tmp_path: Path, value: float) -> None:
    with pytest.raises(LabError, match=r"tracking\.system_metrics=.* must be seconds"):
        started(tmp_path, system_metrics=value)


def test_system_metrics_without_psutil_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with pytest.raises(LabError, match=r"pip install 'pruning_lab\[system\]'"):
        started(tmp_path, system_metrics=1.0)


def test_a_database_that_vanishes_does_not_stop_the_run(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    (tmp_path / "mlflow.db").unlink()
    tracker.log_step(0, {"val/iou": 0.9})
    tracker.finish("FINISHED")
    assert tracker.lost


def test_no_tracker_takes_everything_and_keeps_nothing(tmp_path: Path) -> None:
    tracker: Tracker = NoTracker()
    tracker.start(Opening(tmp_path, tmp_path))
    tracker.describe("a run")
    tracker.log_step(0, {"val/iou": 0.5})
    tracker.log_summary({"best/step": 0})
    tracker.log_artifact(tmp_path / "a.png")
    tracker.log_table("widths", [])
    tracker.log_dataset("eyes", "abc", {})
    tracker.log_model_folder(tmp_path)
    tracker.finish("FINISHED")
    assert (tracker.run_id, tracker.lost, tracker.address) == ("", False, "")
    assert list(tmp_path.iterdir()) == []


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    answer = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def test_the_commit_is_marked_when_tracked_files_differ(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert git_commit(tmp_path) == "unknown"
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    git(tmp_path, "tag", "v1")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "untracked").write_text("")
    assert git_commit(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == f"{commit}-dirty"


def test_outside_of_a_repository_the_commit_is_unknown(tmp_path: Path) -> None:
    assert git_commit(tmp_path) == "unknown"
