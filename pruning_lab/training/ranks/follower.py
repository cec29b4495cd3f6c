"""A rank that waits for trainings, and has its part in each, until rank 0 ends. Prints and writes nothing of a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.ranks import REASONS, Place
from pruning_lab.common.stopping import STOPS, end_after

FAILED = 1


def follow(place: Place) -> int:
    """Take part in all trainings that rank 0 begins; returns the exit code."""
    for number in STOPS:  # rank 0 sees to requests to stop
        signal.signal(number, signal.SIG_IGN)
    if REASONS in os.environ:
        threading.Thread(target=end_after, args=(os.getppid(),), daemon=True, name="watches rank 0").start()
    from pruning_lab.training.ranks.line import is_of_another

    try:
        _take_part(place)
    except BaseException as error:
        if not is_of_another(error):
            _tell(place, error)
        return FAILED
    return 0


def _take_part(place: Place) -> None:
    import torch

    from pruning_lab.training.ranks.line import connect, receive, unpacked
    from pruning_lab.training.ranks.member import Rank

    if torch.cuda.is_available():
        torch.cuda.set_device(place.local_rank % torch.cuda.device_count())
    control = connect(place)
    batches: Any = None
    while content := receive(control):
        work, threads, training, fresh = unpacked(content, place)
        torch.set_num_threads(threads)
        batches = batches if fresh is None else fresh
        work(training, batches, Rank(place, control))


def _tell(place: Place, error: BaseException) -> None:
    """Leave the reason where rank 0 looks for it; where another program started this rank, say it."""
    reason = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {first_line(error)}"
    if REASONS in os.environ:
        (Path(os.environ[REASONS]) / str(place.rank)).write_text(reason, encoding="utf-8")
    else:
        print(f"error: process {place.rank} of {place.size}: {reason}", file=sys.stderr, flush=True)
