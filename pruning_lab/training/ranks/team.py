"""Rank 0's side: starts the other ranks, sends them each training, and ends with them where one fails."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pruning_lab.common.errors import LabError
from pruning_lab.common.ranks import REASONS, Place, place_here
from pruning_lab.training.ranks.line import connect, is_of_another, packed, send
from pruning_lab.training.ranks.member import Rank

COMMAND = (sys.executable, "-m", "pruning_lab.training.ranks")

LOOK_EVERY, GRACE = 0.5, 20.0
"""Seconds between two looks at the other ranks; and from one's failure until this process ends as well, where it waits
on a device for the one that is gone."""

REASON_SECONDS = 5.0
"""How long the reason of another rank is waited for."""

_team: Team | None = None
_is_over = False
"""Whether ranks that another program started have been sent home; they come only once."""


def team_for(devices: int) -> Team:
    """The ranks that share trainings on so many devices: those that are there, or new ones.

    Raises:
        LabError: they can't be started, or reached.
    """
    global _team
    if _team is None or _team.place.size != devices:
        dismiss()
        _team = Team(devices)
    return _team


def dismiss() -> None:
    """Let the other ranks end."""
    global _team
    team, _team = _team, None
    if team is not None:
        team.end()


def release() -> None:
    """At the end of a program whose ranks another program started: let them end, also where nothing was trained."""
    place = place_here()
    if place is not None and _team is None and not _is_over:
        with suppress(LabError):
            send(b"", connect(place))
    dismiss()


class Team:
    """All ranks, seen from rank 0."""

    def __init__(self, devices: int) -> None:
        global _is_over
        given = place_here()
        if _is_over:
            raise LabError(f"devices={devices}: the other processes have ended; start the run again")
        self._others: list[subprocess.Popen[bytes]] = []
        self._reasons = Path(tempfile.mkdtemp(prefix="pruning_lab_ranks_"))
        self.place = given or Place(0, devices, 0, devices, 0, "127.0.0.1", _free_port())
        self._is_own = given is None
        self._ended = False
        atexit.register(self.end)
        for rank in range(1, devices) if self._is_own else ():
            self._others.append(self._start(rank))
        if self._others:
            threading.Thread(target=self._watch, daemon=True, name="watches the other ranks").start()
        self._known: Any = None
        self._control = self._told(lambda: connect(self.place))

    def train(self, work: Callable[..., Any], training: Any, batches: Any, **own: Any) -> Any:
        """Do a work on all ranks at once; returns what it returns here.

        Args:
            work: (training, batches, member, **own) -> anything; a function of a module.
            training: is sent to all.
            batches: are sent as well, but not where they are those of the work before.
            own: for this rank alone.

        Raises:
            LabError: another rank failed; all have ended then.
        """
        fresh = None if batches == self._known else batches
        content = packed((work, torch.get_num_threads(), training, fresh), self.place.size)
        self._known = batches

        def together() -> Any:
            send(content, self._control)
            return work(training, batches, Rank(self.place, self._control), **own)

        return self._told(together)

    def end(self) -> None:
        """Let the others end, at the latest by force."""
        self._leave(politely=True)

    def _told(self, work: Callable[[], Any]) -> Any:
        """Do what needs all ranks. Where it fails all end, and the reason is that of the rank that failed."""
        try:
            return work()
        except BaseException as error:
            causes = [each for each in (error, error.__cause__) if each is not None]
            reason = self._reason() if any(map(is_of_another, causes)) else ""
            self._leave(politely=False)
            if reason and not isinstance(error, KeyboardInterrupt):
                raise LabError(reason) from error
            raise

    def _leave(self, politely: bool) -> None:
        global _team, _is_over
        if self._ended:
            return
        self._ended = True
        atexit.unregister(self.end)
        _team = None if _team is self else _team
        _is_over = not self._is_own
        if politely:
            with suppress(RuntimeError):
                send(b"", self._control)
        for other in self._others:
            with suppress(subprocess.TimeoutExpired):
                other.wait(GRACE if politely else 0)
            other.kill()
            other.wait()
        if dist.is_initialized():
            dist.destroy_process_group()
        shutil.rmtree(self._reasons, ignore_errors=True)

    def _start(self, rank: int) -> subprocess.Popen[bytes]:
        place = replace(self.place, rank=rank, local_rank=rank)
        variables = {"TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ, **place.variables(), REASONS: str(self._reasons)}
        return subprocess.Popen(COMMAND, env=variables, stdin=subprocess.DEVNULL)

    def _watch(self) -> None:
        """End this process a while after another rank failed: on a GPU it may wait for that one for ever."""
        while not self._ended and not self._failed():
            time.sleep(LOOK_EVERY)
        end = time.monotonic() + GRACE
        while not self._ended:
            if time.monotonic() > end:
                print(f"error: {self._reason()}", file=sys.stderr, flush=True)
                os._exit(1)
            time.sleep(LOOK_EVERY)

    def _failed(self) -> list[int]:
        """Ranks that have ended with an exit code other than 0."""
        return [rank for rank, other in enumerate(self._others, start=1) if other.poll() not in (None, 0)]

    def _reason(self) -> str:
        """Why another rank failed; empty where none has."""
        end = time.monotonic() + REASON_SECONDS
        while self._others and not self._failed() and time.monotonic() < end:
            time.sleep(LOOK_EVERY / 10)
        if not self._is_own:
            return "another process of this run has ended; its own line says why"
        told = {int(path.name): path.read_text(encoding="utf-8") for path in self._reasons.iterdir()}
        for rank in [*told, *self._failed()]:
            why = told.get(rank) or _how(self._others[rank - 1].returncode)
            return f"process {rank + 1} of devices={self.place.size} failed: {why}"
        return ""


def _how(code: int) -> str:
    return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with exit code {code}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
