"""Keeps two processes out of one folder. Knows nothing of what is done in there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pruning_lab.common.errors import LabError

LOCK = ".lock"
"""File in a folder while a process works there."""

_own: set[Path] = set()


class HeldError(LabError):
    """Another process works in the folder."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder; the system lets them in when this one is killed.

    A process that holds a folder may claim it again.

    Raises:
        HeldError: another one is in there.
    """
    place = Path(folder).absolute()
    if place in _own:
        yield
        return
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise HeldError(f"another process works in {folder}; wait for its end, or give another folder") from None
    _own.add(place)
    try:
        yield
    finally:
        _own.discard(place)
        (place / LOCK).unlink(missing_ok=True)
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether another process works in a folder now."""
    path = Path(folder).absolute() / LOCK
    if not path.is_file() or path.parent in _own:
        return False
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False
