"""Where a run is logged, to be compared with others. The only module that knows MLflow; knows no models."""

import csv
import getpass
import io
import json
import logging
import os
import posixpath
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.files import is_full
from pruning_lab.lab.output.deliveries import LONGEST, Deliveries
from pruning_lab.lab.output.tracker import Status

if TYPE_CHECKING:
    from mlflow import MlflowClient

Item = TypeVar("Item")

# Limits of MLflow's REST interface.
LONGEST_PARAMETER = 6000
LONGEST_TAG = 8000
MOST_PARAMETERS_PER_CALL = 100
MOST_METRICS_PER_CALL = 1000

# Enough of a fingerprint to tell data sets apart where MLflow's table has room for a word.
DIGEST_LENGTH = 12

SQLITE = "sqlite:///"

# A saved view of MLflow's runs page; its address ends in `/runs?viewStateShareKey=iou_against_flops`.
# Its charts have FLOPs instead of the step on the x axis, and its table the metrics that stand for a run.
VIEW = "iou_against_flops"
VIEW_STATE = {
    "globalLineChartConfig": {
        "xAxisKey": "metric",
        "selectedXAxisMetricKey": "resources/flops_fraction",
        "lineSmoothness": 0,
    },
    # The charts that a comparison starts from; emptying the search box shows all.
    "chartsSearchFilter": "^val/(iou|iou_before_recovery|loss)$",
    "orderByKey": "metrics.`best/val_iou`",
    "orderByAsc": False,
    "selectedColumns": [
        f"metrics.`{name}`"
        for name in (
            "best/val_iou",
            "best/flops_fraction",
            "best/weights_fraction",
            "test/iou",
            "at/flops_50/val_iou",
            "at/flops_25/val_iou",
            "at/flops_10/val_iou",
        )
    ],
}

# Read by MLflow when it is imported or called; what the user has set already wins.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


SQLITE_IS_FULL = "database or disk is full"


class MlflowTracker:
    """Logs to an MLflow store: any `uri` that MLflow knows, by default an SQLite file under the output root.

    An SQLite store has its artifacts beside it, in `mlartifacts/`. MLflow's own chatter is switched off:
    this class says what goes wrong, in one line each.
    """

    def __init__(self, uri: str | None = None, experiment: str = "pruning_lab", run_name: str | None = None) -> None:
        self.uri = uri
        self.experiment = experiment
        self.run_name = run_name
        self.run_id = ""
        self._backlog = Deliveries(_is_outage)

    @property
    def lost(self) -> bool:
        return self._backlog.lost

    def start(
        self, output_root: Path, parameters: Mapping[str, Any], tags: Mapping[str, str], run_id: str = ""
    ) -> None:
        uri = _absolute(self.uri or f"{SQLITE}{Path(output_root) / 'mlflow.db'}")
        _silence_mlflow()
        try:
            self._client, experiment_id = _open(uri, self.experiment)
            if run_id:
                self._client.update_run(run_id, status="RUNNING")
                self.run_id = run_id
                return
            shown = {
                "mlflow.user": _user(),
                "mlflow.source.name": "pruning_lab",
                "mlflow.source.type": "LOCAL",
            }
            texts = {name: text[:LONGEST_TAG] for name, text in tags.items()}
            run = self._client.create_run(experiment_id, run_name=self.run_name, tags=shown | texts)
            self.run_id = run.info.run_id
            self._log_parameters(parameters)
        except LabError:
            raise
        except Exception as error:
            silent = uri.startswith("http") and _is_outage(error)
            reason = "no usable answer" if silent else first_line(error, LONGEST)
            full = is_full(error) or SQLITE_IS_FULL in str(error)
            mend = f"make room in {output_root}" if full else "start that server, correct the address"
            raise LabError(
                f"tracking.uri: can't log to {_without_password(uri)} ({reason}); {mend}, or run with tracking=none"
            ) from error

    def _log_parameters(self, parameters: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        named = _with_safe_names(parameters)
        entities = [Param(name, _parameter_text(value)) for name, value in named.items()]
        for chunk in _chunks(entities, MOST_PARAMETERS_PER_CALL):
            self._client.log_batch(self.run_id, params=chunk)

    def tag(self, name: str, value: str) -> None:
        self._backlog.deliver(f"tag {name}", partial(self._client.set_tag, self.run_id, name, value[:LONGEST_TAG]))

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self._log_metrics("metrics", step, metrics)

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        self._log_metrics("summary metrics", 0, metrics)

    def _log_metrics(self, what: str, step: int, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = _with_safe_names(metrics)
        entities = [Metric(name, float(value), now, step) for name, value in named.items()]
        for chunk in _chunks(entities, MOST_METRICS_PER_CALL):
            self._backlog.deliver(what, partial(self._client.log_batch, self.run_id, metrics=chunk))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        call = partial(self._client.log_artifact, self.run_id, str(path), folder)
        self._backlog.deliver(f"file {path}", call)

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        text = _as_csv(rows)
        call = partial(self._client.log_text, self.run_id, text, f"tables/{name}.csv")
        self._backlog.deliver(f"table {name}", call)

    def log_dataset(self, name: str, fingerprint: str, counts: Mapping[str, int]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        profile = json.dumps(dict(counts))
        source = json.dumps({"fingerprint": fingerprint})
        dataset = Dataset(name, fingerprint[:DIGEST_LENGTH], "code", source, profile=profile)
        entry = DatasetInput(dataset, [InputTag("mlflow.data.context", "pruning")])
        call = partial(self._client.log_inputs, self.run_id, [entry])
        self._backlog.deliver(f"dataset {name}", call)

    def log_model_folder(self, path: Path) -> None:
        call = partial(self._client.log_artifacts, self.run_id, str(path), "model")
        self._backlog.deliver(f"model {path}", call)

    def finish(self, status: Status) -> None:
        call = partial(self._client.set_terminated, self.run_id, status)
        self._backlog.deliver("the run's status", call)
        self._backlog.close()


def _open(uri: str, experiment: str) -> tuple["MlflowClient", str]:
    """A client of the store, and the id of the experiment, which is made if it is new."""
    from mlflow import MlflowClient

    with _lock_of(uri):
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return client, _create_experiment(client, uri, experiment)
    if found.lifecycle_stage == "deleted":
        raise LabError(
            f"tracking.experiment: {experiment!r} was deleted from {_without_password(uri)}; choose another "
            f"name, or bring it back with `mlflow experiments restore -x {found.experiment_id}`"
        )
    return client, found.experiment_id


def _create_experiment(client: "MlflowClient", uri: str, experiment: str) -> str:
    from mlflow.exceptions import MlflowException

    database = _sqlite_path(uri)
    location = (database.parent / "mlartifacts").as_uri() if database else None
    tags = {f"mlflow.sharedViewState.{VIEW}": json.dumps(VIEW_STATE)}
    try:
        return client.create_experiment(experiment, artifact_location=location, tags=tags)
    except MlflowException:
        # On a server no lock is held: another run may have made it since we looked.
        found = client.get_experiment_by_name(experiment)
        if found is None:
            raise
        return found.experiment_id


def _sqlite_path(uri: str) -> Path | None:
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def _absolute(uri: str) -> str:
    """A relative SQLite address would point elsewhere as soon as a process changes its directory."""
    if "://" not in uri or uri.startswith("file:"):
        raise LabError(
            f"tracking.uri: MLflow no longer writes to plain folders such as {uri}; "
            f"use a database file, {SQLITE}/absolute/path/mlflow.db"
        )
    database = _sqlite_path(uri)
    return f"{SQLITE}{database.resolve().as_posix()}" if database else uri


def _without_password(uri: str) -> str:
    return re.sub(r"://([^/@:]*):[^/@]*@", r"://\1:***@", uri)


def _lock_of(uri: str) -> AbstractContextManager[Any]:
    """MLflow fails where several processes create the tables of one fresh SQLite store at once."""
    database = _sqlite_path(uri)
    if database is None:
        return nullcontext()
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(database.with_name(database.name + ".lock"))


def _silence_mlflow() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # The loggers too, for a process that had imported MLflow before.
    for logger in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)


def _is_outage(error: Exception) -> bool:
    """Whether the same call may well succeed later: the store is away, or busy, and did not say no."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.get_http_status_code() >= 500
    return isinstance(error, ConnectionError | TimeoutError)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        return "unknown"


def _with_safe_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` under names that MLflow accepts: one odd character would have the whole call refused."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        safe = posixpath.normpath(re.sub(r"[^\w\-. /:]", "_", name)).lstrip("/.")[:250] or "_"
        while safe in result:
            safe += "_"
        result[safe] = value
    return result


def _parameter_text(value: Any) -> str:
    """The value as a config or a command line would spell it, cut where MLflow's limit is."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = str(value)
    return text if len(text) <= LONGEST_PARAMETER else text[: LONGEST_PARAMETER - 1] + "…"


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
