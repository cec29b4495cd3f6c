"""Eight jobs at once, on a server with PostgreSQL that is killed, and on databases that are fresh: nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.journal import Journal
from pruning_lab.lab.output.mlflow import summarize, upload
from pruning_lab.lab.output.mlflow.store import silence_mlflow, with_driver
from tests.lab.output.mlflow.servers import MlflowServer, mlflow_server, postgres, wait_until
from tests.paths import ROOT

JOBS, STEPS = 8, 6

PATIENCE = 180
"""Seconds that eight jobs may take on a busy machine."""

pytestmark = pytest.mark.slow


@contextmanager
def jobs(root: Path, uri: str, seconds: float, count: int = JOBS) -> Iterator[subprocess.Popen[bytes]]:
    """That many jobs of one sweep, all at once; none outlives the block."""
    arguments = [str(root), uri, str(count), str(STEPS), str(seconds)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.output.mlflow.jobs", *arguments], cwd=ROOT, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def said(root: Path, count: int = JOBS) -> list[str]:
    """What each job said so far."""
    logs = [root / f"{number}.log" for number in range(count)]
    return [log.read_text() if log.is_file() else "" for log in logs]


def wait_for_beginning(root: Path) -> None:
    wait_until(lambda: all(text.startswith("begun") for text in said(root)))


def answers(process: subprocess.Popen[bytes], root: Path, count: int = JOBS) -> list[str]:
    """What the jobs said, when all have ended well."""
    code = process.wait(PATIENCE)
    assert code == 0, said(root, count)
    return said(root, count)


def sent_later(root: Path, uri: str) -> list[Any]:
    journals = [journal for folder in folders(root) for journal in Journal.all_of(folder)]
    done = [upload(journal, uri) for journal in journals]
    summarize(journals[0], uri)
    assert not summarize(journals[0], uri)
    return done


def folders(root: Path) -> list[Path]:
    return sorted((root / "sweep").glob("[0-9]*"))


def assert_nothing_is_lost(client: MlflowClient, root: Path, count: int = JOBS, status: str = "FINISHED") -> None:
    """One parent, one run for each job below it, and every metric of every step as the history has it."""
    (experiment,) = [each for each in client.search_experiments() if each.name == "pruning_lab"]
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    children = [run for run in runs if run is not parents[0]]
    assert sorted(run.info.run_name for run in children) == [f"job {number}" for number in range(count)]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    for run in children:
        assert run.info.status == status
        assert_history_is_there(client, run, root / "sweep" / run.info.run_name.removeprefix("job "))
    if status == "FINISHED":
        assert parents[0].info.status == "FINISHED"
        assert parents[0].data.metrics["jobs/finished"] == count
        assert f"{count} finished" in parents[0].data.tags["mlflow.note.content"]


def assert_history_is_there(client: MlflowClient, run: Run, folder: Path) -> None:
    history = History.read(folder / "history.csv")
    for name in history.names[1:]:
        stored = {each.step: each.value for each in client.get_metric_history(run.info.run_id, name)}
        assert stored == {int(row["step"]): row[name] for row in history}, (folder, name)
    if run.info.status == "FINISHED":
        number = int(folder.name)
        assert run.data.metrics["best/val_iou"] == 0.5 + number / 100
        assert run.data.params == {"_seed": str(number), "seed": str(number)}
        assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"history.csv", "tables"}
        (output,) = run.outputs.model_outputs
        model = client.get_logged_model(output.model_id)
        assert {each.key: each.value for each in model.metrics} == {
            "best/val_iou": 0.5 + number / 100,
            "best/flops_fraction": 1 / STEPS,
        }


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with postgres() as uri:
        yield uri


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    silence_mlflow()
    with mlflow_server(with_driver(database), tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def client(server: MlflowServer) -> MlflowClient:
    """A client of the server, which has an empty experiment."""
    client = MlflowClient(server.uri)
    for experiment in client.search_experiments():
        if experiment.name == "pruning_lab":
            client.rename_experiment(experiment.experiment_id, f"earlier {experiment.experiment_id}")
    return client


def test_several_jobs_at_once_on_a_fresh_database(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with postgres() as uri, jobs(tmp_path, uri, 0.0) as process:
        told = answers(process, tmp_path)
        assert told == ["begun\ncomplete\n"] * JOBS, "nothing of MLflow's chatter reaches the console"
        assert_nothing_is_lost(MlflowClient(with_driver(uri)), tmp_path)


def test_several_jobs_at_once_on_a_fresh_file(tmp_path: Path) -> None:
    with jobs(tmp_path, "default", 0.0, count=4) as process:
        assert answers(process, tmp_path, 4) == ["begun\ncomplete\n"] * 4
        assert_nothing_is_lost(MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}"), tmp_path, 4)


def test_a_server_that_is_killed_and_comes_back_has_everything(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    with jobs(tmp_path, server.uri, 3.0) as process:
        wait_for_beginning(tmp_path)
        server.kill()
        server.start()
        answers(process, tmp_path)
    sent_later(tmp_path, server.uri)
    assert_nothing_is_lost(client, tmp_path)


def test_a_server_that_is_killed_for_good_gets_everything_later_and_once(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    with jobs(tmp_path, server.uri, 0.3) as process:
        wait_for_beginning(tmp_path)
        server.kill()
        told = answers(process, tmp_path)
    assert all(text.endswith("lost\n") and "task=upload" in text for text in told)
    server.start()
    assert all(not done.nothing for done in sent_later(tmp_path, server.uri))
    assert_nothing_is_lost(client, tmp_path)
    assert all(done.nothing for done in sent_later(tmp_path, server.uri))
    assert_nothing_is_lost(client, tmp_path)


def test_jobs_that_are_killed_are_marked_so_later(server: MlflowServer, client: MlflowClient, tmp_path: Path) -> None:
    with jobs(tmp_path, server.uri, 30.0, count=2):
        wait_until(lambda: all((tmp_path / "sweep" / name / "history.csv").is_file() for name in "01"))
    assert all(done.mended for done in sent_later(tmp_path, server.uri))
    assert_nothing_is_lost(client, tmp_path, 2, "KILLED")
    assert all(done.nothing for done in sent_later(tmp_path, server.uri))
