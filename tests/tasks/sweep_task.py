"""A task for tests of sweeps: what it does in a folder is told by files, and no network is trained."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pruning_lab.common.errors import LabError
from pruning_lab.common.marks import DONE, write_mark
from pruning_lab.tasks.outcome import Outcome, returned

WORKED = "worked"
"""File of a job's folder with a line for each time that it worked."""

ONCE = {"killed_once": signal.SIGKILL, "preempted_once": signal.SIGUSR2}
"""Signals that a job gets where it works for the first time."""


def work(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Outcome:
    """Works; for what the file `trouble` of the output root names, it fails, breaks off, raises or is killed.

    A line of the file is a seed, or `#7` for the seventh job that works, and what happens then.
    """
    with open(folder / WORKED, "a", encoding="utf-8") as stream:
        stream.write("once\n")
    trouble = Path(config.output_root) / "trouble"
    kinds = dict(line.split() for line in trouble.read_text().splitlines()) if trouble.is_file() else {}
    begun = len(list(folder.parent.glob(f"*/{WORKED}")))
    kind = kinds.get(f"#{begun}") or kinds.get(str(config.seed))
    if kind == "mistake":
        raise LabError("seed is unlucky; take another")
    if kind == "fault":
        raise ZeroDivisionError("of its own")
    if kind == "stop":
        raise KeyboardInterrupt
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind in ONCE and len((folder / WORKED).read_text().splitlines()) == 1:
        os.kill(os.getpid(), ONCE[kind])
        time.sleep(60)
    summary = {"best/val_iou": config.seed / 10, "budget_met": 1.0, "test/iou": 0.5}
    summary["best/flops_fraction"] = config.stop.flops
    write_mark(folder, DONE, {"summary": summary})
    return returned(config, summary)
