"""Opening an MLflow store: addresses, the creation of its tables, the experiment. Knows nothing of runs."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.files import is_full
from pruning_lab.lab.output.deliveries import LONGEST
from pruning_lab.lab.output.mlflow.view import EXPERIMENT_KIND, VIEW, VIEW_STATE, VIEW_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"

SQLITE_IS_FULL = "database or disk is full"
"""What SQLite says where the system would say that no space is left."""

POSTGRES = "pip install 'pruning_lab[postgres]'"
DRIVERS = {"psycopg": POSTGRES, "psycopg2": POSTGRES, "MySQLdb": "pip install mysqlclient"}
"""Modules that a database's address may need, and how to get them; others have their package's name."""

TABLES_LOCK = 0x7072756E656C6162
"""The advisory lock that PostgreSQL keeps for us while one process makes MLflow's tables."""

WAIT_FOR_TABLES = 0.1
"""Seconds between two tries to get it."""

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


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        address: of the store, without a password.
        experiment_id: of the experiment that runs are added to.
    """

    client: MlflowClient
    address: str
    experiment_id: str


def address_of(uri: str | None, root: Path) -> str:
    """The whole address of a store; without one, that of the SQLite file under the root of all runs.

    Raises:
        LabError: it is a plain folder, which MLflow no longer writes to.
    """
    uri = uri or f"{SQLITE}{Path(root) / 'mlflow.db'}"
    if "://" not in uri or uri.startswith("file:"):
        raise LabError(
            f"tracking.uri: MLflow no longer writes to plain folders such as {uri}; "
            f"use a database file, {SQLITE}/absolute/path/mlflow.db"
        )
    database = sqlite_path(uri)
    # A relative address would point elsewhere as soon as a process changes its directory.
    return f"{SQLITE}{database.resolve().as_posix()}" if database else uri


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite store; None for any other."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def without_password(uri: str) -> str:
    """An address that may be printed."""
    return re.sub(r"://([^/@:]*):[^/@]*@", r"://\1:***@", uri)


def open_store(uri: str, experiment: str, root: Path) -> Store:
    """Open a store; tables and experiment are made where they are missing, by one process at a time.

    Args:
        uri: a whole address, see `address_of`.
        root: folder of all runs; a database without a server has its artifacts there.

    Raises:
        LabError: the experiment was deleted.
        Exception: whatever MLflow and the database raise.
    """
    from mlflow import MlflowClient

    with _one_at_a_time(uri):
        _make_tables(uri)
        client = MlflowClient(with_driver(uri))
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return Store(client, without_password(uri), _create_experiment(client, uri, experiment, root))
        for tag, text in _tags().items():
            if tag not in found.tags and found.lifecycle_stage != "deleted":
                client.set_experiment_tag(found.experiment_id, tag, text)
    if found.lifecycle_stage == "deleted":
        raise LabError(
            f"tracking.experiment: {experiment!r} was deleted from {without_password(uri)}; choose another "
            f"name, or bring it back with `mlflow experiments restore -x {found.experiment_id}`"
        )
    return Store(client, without_password(uri), found.experiment_id)


def _make_tables(uri: str) -> None:
    """Make the tables of an SQLite store that is not there yet; only whole ones get the store's name.

    They take a second to be made, and MLflow can't go on with those that a kill has left half made.
    """
    database = sqlite_path(uri)
    if database is None or (database.is_file() and database.stat().st_size):
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    draft = database.with_name(f".{database.name}.draft")
    for left in draft.parent.glob(f"{draft.name}*"):
        left.unlink()
    store = SqlAlchemyStore(f"{SQLITE}{draft.as_posix()}", (database.parent / "mlartifacts").as_uri())
    store.engine.dispose()
    os.replace(draft, database)


def why_not(error: Exception, uri: str) -> LabError:
    """What to say of an error that met the opening of a store or of a run there."""
    if isinstance(error, LabError):
        return error
    shown = without_password(uri)
    if isinstance(error, ModuleNotFoundError) and not uri.startswith("http"):
        name = str(error.name)
        mend = DRIVERS.get(name, f"pip install {name}")
        return LabError(f"tracking.uri: {shown} needs the driver {name}: {mend}; or run with tracking=none")
    silent = uri.startswith("http") and is_outage(error)
    reason = "no usable answer" if silent else without_password(first_line(error, LONGEST))
    if is_full(error) or SQLITE_IS_FULL in str(error):
        database = sqlite_path(uri)
        mend = f"make room in {database.parent if database else 'its disk'}, or run with tracking=none"
    elif sqlite_path(uri):
        mend = (
            "give a database in a folder that can be written, run with tracking=none, or keep everything for "
            "task=upload with tracking.must_answer=false"
        )
    else:
        mend = (
            "start that server, correct the address, run with tracking=none, or keep everything for task=upload with "
            "tracking.must_answer=false"
        )
    return LabError(f"tracking.uri: can't log to {shown} ({reason}); {mend}")


def is_outage(error: Exception) -> bool:
    """Whether the same call may well succeed later: the store is away, or busy, and did not say no."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    if isinstance(error, MlflowException):
        return error.get_http_status_code() >= 500
    return isinstance(error, ConnectionError | TimeoutError | OperationalError)


def silence_mlflow() -> None:
    """Switch MLflow's own chatter off: what goes wrong is said in one line each, by those who call it."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # The loggers too, for a process that had imported MLflow before.
    for logger in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)


def with_driver(uri: str) -> str:
    """An address of PostgreSQL names its driver: which one is taken by itself depends on SQLAlchemy's version."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", uri)


def _create_experiment(client: MlflowClient, uri: str, experiment: str, root: Path) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return client.create_experiment(experiment, artifact_location=_artifacts_of(uri, root), tags=_tags())
    except MlflowException:
        # On a server no lock is held: another run may have made it since we looked.
        found = client.get_experiment_by_name(experiment)
        if found is None:
            raise
        return found.experiment_id


def _tags() -> dict[str, str]:
    """What an experiment tells MLflow's pages: its saved view, and that it is about training."""
    return {VIEW_TAG + VIEW: json.dumps(VIEW_STATE), **EXPERIMENT_KIND}


def _artifacts_of(uri: str, root: Path) -> str | None:
    """A database without a server would have its artifacts wherever a process happens to be."""
    if uri.startswith("http"):
        return None
    database = sqlite_path(uri)
    folder = database.parent if database else Path(root).resolve()
    return (folder / "mlartifacts").as_uri()


def _one_at_a_time(uri: str) -> AbstractContextManager[Any]:
    """MLflow fails where several processes create the tables of one fresh database at once."""
    database = sqlite_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(database.with_name(database.name + ".lock"))
    return _advisory_lock(with_driver(uri)) if uri.startswith("postgres") else nullcontext()


@contextmanager
def _advisory_lock(uri: str) -> Iterator[None]:
    """A lock that the database keeps, so that it also holds between machines; it goes with its connection.

    Who waits must hold no transaction: MLflow's making of tables waits for all that are open.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(uri, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        while not connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": TABLES_LOCK}):
            time.sleep(WAIT_FOR_TABLES)
        yield
