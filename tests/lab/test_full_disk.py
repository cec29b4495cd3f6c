"""A disk that has no room for a file of a run: for each kind of file, what was good stays, and the run goes on from it.

Room is withheld where files are finished, in this process. `tests/test_full_disk.py` fills a real disk.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from pruning_lab.checkpoint import load
from pruning_lab.common.errors import LabError
from pruning_lab.common.files import disk_trouble
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.console import QuietReporter
from pruning_lab.lab.output.history import History
from pruning_lab.lab.resume import prune
from pruning_lab.selection.stopping import All
from pruning_lab.training.recovery import BaseTraining, Recovery
from tests.networks.labs import tiny_lab

pytestmark = pytest.mark.slow

CHANGING = re.compile(r"\.?[0-9a-f]{16,32}\.?|(?<=save-)\w+|\d+|(?<=\.)[\w-]{8}(?=/|$)")
"""Parts of names that are other ones each time."""
KINDS = 8
"""Kinds of places that a run writes to at least."""


def kind_of(path: str, root: Path) -> str:
    """The folder, and how the name ends."""
    place = Path(path).relative_to(root)
    return f"{CHANGING.sub('*', str(place.parent))}/*{place.suffix}"


@contextmanager
def filled(wrote: Callable[[str], bool]) -> Iterator[None]:
    """Within it a file below can't be finished where `wrote` says so of its name, nor any after it."""
    real, full = os.fsync, False

    def fsync(stream: Any) -> None:
        nonlocal full
        full = full or wrote(os.readlink(f"/proc/self/fd/{stream}"))
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(stream)

    os.fsync = fsync
    try:
        yield
    finally:
        os.fsync = real


def experiment(root: Path) -> Experiment:
    adam = partial(torch.optim.Adam, lr=1e-2)
    return tiny_lab(
        root,
        base=BaseTraining(adam, epochs=1),
        recovery=Recovery(adam, epochs=1, final_epochs=1),
        deterministic=True,
        reporter=QuietReporter(),
        save_every=1,
        stop=All(flops=0.8),
    )


def told(folder: Path) -> list[dict[str, float]]:
    """The rows but for what takes time, and for what is added to the last one at the end of a run."""
    history = History.read(folder / "history.csv")
    return [{name: value for name, value in row.items() if name.startswith(("step", "val/", "res"))} for row in history]


@pytest.fixture(autouse=True)
def _quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of such a run's time; a byte of each picture is enough here."""
    monkeypatch.setattr(Figure, "savefig", lambda self, stream, **kwargs: stream.write(b"x"))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the names of open files are taken from /proc")
def test_for_each_kind_of_file_what_was_good_is_kept_and_the_run_goes_on(tmp_path: Path) -> None:
    kinds: list[str] = []

    def notes(path: str) -> bool:
        kinds.append(kind_of(path, tmp_path / "whole"))
        return False

    with filled(notes):
        prune(experiment(tmp_path / "whole"))
    wanted = told(tmp_path / "whole" / "run")
    assert len(set(kinds)) >= KINDS, sorted(set(kinds))
    for number, kind in enumerate(sorted(set(kinds))):
        root, last = tmp_path / str(number), len(kinds) - kinds[::-1].index(kind)
        ended = _fills_at_the(root, kinds.index(kind) + 1 if number % 2 else last)
        if ended is not None:
            line = disk_trouble(ended, root) if isinstance(ended, OSError) else str(ended)
            assert "\n" not in line
            assert str(root) in line, (kind, line)
            assert "make room" in line, (kind, line)
        for model in (root / "run").glob("model/architecture.json"):
            load(model.parent)
        history = root / "run" / "history.csv"
        before = told(root / "run") if history.is_file() else []
        assert before == wanted[: len(before)], kind
        prune(experiment(root))
        assert told(root / "run") == wanted, kind
        drafts = [path.name for path in root.rglob(".*") if path.name != ".lock"]
        assert drafts == [], kind


def _fills_at_the(root: Path, number: int) -> OSError | LabError | None:
    """How a run ends whose disk is full from its n-th file on; None where it can do without the rest."""
    written = 0

    def counts(path: str) -> bool:
        nonlocal written
        written += 1
        return written == number

    with filled(counts):
        try:
            prune(experiment(root))
        except (OSError, LabError) as error:
            return error
    return None
