"""A PostgreSQL and an MLflow server on loopback, in temporary folders, that end with the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

USERS = ("postgres", "nobody")
"""PostgreSQL refuses to run as root; one of these takes its place then."""

PATIENCE = 120
"""Seconds that a server may take to answer on a busy machine."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def binaries() -> Path | None:
    """Where PostgreSQL's programs are."""
    found = shutil.which("postgres")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").is_file()), None)


def demotion(folder: Path) -> list[str]:
    """What has to stand before a command of PostgreSQL; the folder is given to whom it names."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no setpriv to run it as another user")
    import pwd

    for name in USERS:
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    pytest.skip(f"PostgreSQL refuses to run as root, and there is none of the users {', '.join(USERS)}")


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a fresh database."""
    programs = binaries()
    if programs is None:
        pytest.skip("there is no PostgreSQL with initdb here")
    # Not below pytest's own folder, which only root can enter.
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    before, port = demotion(folder), free_port()
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    try:
        initdb = [*before, programs / "initdb", "-D", data, "-U", "lab", "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(initdb, check=True, **quiet)
        options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
        server = subprocess.Popen([*before, programs / "postgres", "-D", data, *options], **quiet)
        try:
            ready = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
            wait_until(lambda: subprocess.run(ready, **quiet).returncode == 0)
            yield f"postgresql://lab@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class MlflowServer:
    """`mlflow server` on one port; it can be killed and come back."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--backend-store-uri", backend, "--artifacts-destination", folder.as_uri(), "--workers", "1"),
        ]
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._log.parent,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        wait_until(self._answers)

    def _answers(self) -> bool:
        with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
            return bool(answer.status == 200)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def mlflow_server(backend: str, folder: Path) -> Iterator[MlflowServer]:
    """A server that answers."""
    server = MlflowServer(backend, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def wait_until(probe: Callable[[], object]) -> None:
    """Ask again until the answer is true."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(OSError):
            if probe():
                return
        assert time.monotonic() < deadline, "no answer"
        time.sleep(0.2)
