"""A polite request to stop, held back for a moment where work would be lost. Knows signals, and nothing of the work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR2") if hasattr(signal, name))
"""Ctrl-C, and what a machine sends before it takes a run away; SLURM warns by the last where it is told to."""

LOOK_EVERY, GRACE = 0.5, 60.0
"""Seconds between two looks for the parent, and from its end to that of the process at the latest."""

_holds = 0
_asked = False
_last = 0
_busy = 0
_watch: threading.Thread | None = None


def listen() -> None:
    """Treat all requests to stop as Ctrl-C."""
    for number in STOPS:
        signal.signal(number, _on_signal)


def _on_signal(number: int, frame: object) -> None:
    global _asked, _last
    _last = number
    if _holds and not _asked:
        _asked = True
        return
    raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[None]:
    """Inside, a first request to stop only makes `asked` true, and whoever is inside sees to it; a second one stops.

    Raises:
        KeyboardInterrupt: at the end, where nobody saw to a request.
    """
    global _holds, _asked
    _holds += 1
    try:
        yield
        if _holds == 1 and _asked:
            raise KeyboardInterrupt
    finally:
        _holds -= 1
        if not _holds:
            _asked = False


def asked() -> bool:
    """Whether a request to stop waits."""
    return _asked


@contextmanager
def at_work() -> Iterator[None]:
    """Inside, a process that a launcher started treats requests to stop as Ctrl-C, and ends when its parent does.

    A request that the launcher waits for itself, as for a job that SLURM takes away, is handed on once the work inside
    has seen to it.
    """
    global _busy
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(STOPS[-1]) is _on_signal:
        yield
        return
    end_with_parent()
    before = {number: signal.getsignal(number) for number in STOPS}
    taken = [number for number in STOPS if before[number] is signal.SIG_DFL or number == STOPS[-1]]
    for number in taken:
        signal.signal(number, _on_signal)
    _busy += 1
    try:
        yield
    except KeyboardInterrupt:
        handler = before.get(signal.Signals(_last)) if _last in taken else None
        if callable(handler):
            handler(_last, None)
        raise
    finally:
        _busy -= 1
        for number in taken:
            signal.signal(number, before[number])


def end_with_parent() -> None:
    """Let a worker of a pool of processes end when the process that started it has; without this it would live on."""
    global _watch
    if _watch is None and multiprocessing.current_process().name != "MainProcess":
        _watch = threading.Thread(target=end_after, args=(os.getppid(),), daemon=True, name="watches the parent")
        _watch.start()


def end_after(parent: int) -> None:
    """Wait for the end of the process that started this one, and end as well."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    if _busy:
        os.kill(os.getpid(), signal.SIGTERM)
    end = time.monotonic() + GRACE
    while _busy and time.monotonic() < end:
        time.sleep(LOOK_EVERY / 10)
    os._exit(1)
