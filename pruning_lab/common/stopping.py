"""A polite request to stop, held back for a moment where work would be lost. Knows signals, and nothing of the work."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR2") if hasattr(signal, name))
"""Ctrl-C, and what a machine sends before it takes a run away; SLURM warns by the last where it is told to."""

_holds = 0
_asked = False


def listen() -> None:
    """Treat all requests to stop as Ctrl-C."""
    for number in STOPS:
        signal.signal(number, _on_signal)


def _on_signal(number: int, frame: object) -> None:
    global _asked
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
