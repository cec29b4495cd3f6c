import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pruning_lab.common.commit import git_commit
from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.mlflow import MlflowTracker
from pruning_lab.lab.output.tracker import NoTracker, Tracker
from tests.paths import ROOT

REPOSITORY = ROOT


def started(root: Path, parameters: dict[str, Any] | None = None, **settings: str) -> MlflowTracker:
    tracker = MlflowTracker(**settings)  # type: ignore[arg-type]
    tracker.start(root, parameters or {}, {"git_commit": "abc"})
    return tracker


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def stored(root: Path, tracker: MlflowTracker) -> Run:
    return client_of(root).get_run(tracker.run_id)


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the tests that only add runs: making its tables takes a second."""
    return tmp_path_factory.mktemp("outputs")


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
    first.finish("KILLED")
    again = MlflowTracker()
    again.start(shared_root, {"seed": 1}, {"git_commit": "later"}, first.run_id)
    assert again.run_id == first.run_id
    assert stored(shared_root, again).info.status == "RUNNING"
    again.log_step(1, {"val/iou": 0.8})
    again.finish("FINISHED")
    run = stored(shared_root, again)
    assert (run.info.status, run.data.params, run.data.tags["git_commit"]) == ("FINISHED", {"seed": "1"}, "abc")
    history = client_of(shared_root).get_metric_history(again.run_id, "val/iou")
    assert [metric.step for metric in history] == [0, 1]


def test_a_run_that_the_store_does_not_have_is_told(shared_root: Path) -> None:
    with pytest.raises(LabError, match="can't log to") as caught:
        MlflowTracker().start(shared_root, {}, {}, "no such run")
    assert "\n" not in str(caught.value)


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
    assert (folder / "model" / "architecture.json").exists()


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
    assert not (tmp_path / "unused").exists()


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
    view = json.loads(found.tags["mlflow.sharedViewState.iou_against_flops"])
    assert view["globalLineChartConfig"]["selectedXAxisMetricKey"] == "resources/flops_fraction"


@pytest.mark.slow
def test_several_processes_may_open_a_fresh_store_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from pruning_lab.lab.output.mlflow import MlflowTracker\n"
        "tracker = MlflowTracker()\n"
        "tracker.start(Path(sys.argv[1]), {'seed': sys.argv[2]}, {})\n"
        "tracker.log_step(0, {'val/iou': 0.5})\n"
        "tracker.finish('FINISHED')\n"
        "sys.exit(tracker.lost)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    processes = [
        subprocess.Popen([*command, str(seed)], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for seed in range(4)
    ]
    answers = [process.communicate()[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert answers == [""] * 4, "nothing of MLflow's chatter reaches the console"
    client = client_of(tmp_path)
    experiments = [found for found in client.search_experiments() if found.name == "pruning_lab"]
    runs = client.search_runs([found.experiment_id for found in experiments])
    assert len(experiments) == 1
    assert sorted(run.data.params["seed"] for run in runs) == ["0", "1", "2", "3"]


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


def test_a_database_that_vanishes_does_not_stop_the_run(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    (tmp_path / "mlflow.db").unlink()
    tracker.log_step(0, {"val/iou": 0.9})
    tracker.finish("FINISHED")
    assert tracker.lost


def test_no_tracker_takes_everything_and_keeps_nothing(tmp_path: Path) -> None:
    tracker: Tracker = NoTracker()
    tracker.start(tmp_path, {"seed": 1}, {})
    tracker.log_step(0, {"val/iou": 0.5})
    tracker.log_summary({"best/step": 0})
    tracker.log_artifact(tmp_path / "a.png")
    tracker.log_table("widths", [])
    tracker.log_dataset("eyes", "abc", {})
    tracker.log_model_folder(tmp_path)
    tracker.finish("FINISHED")
    assert (tracker.run_id, tracker.lost) == ("", False)
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
