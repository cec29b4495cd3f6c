"""The mean loss of each epoch of a base's training, as a file of the run's folder. Knows no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pruning_lab.common.files import write_atomically
from pruning_lab.lab.output.csv_rows import read_rows

LOSSES_FILE = "base_training.csv"
HEADER = "epoch,loss"


def by_epoch(losses: Sequence[float], batches: int) -> list[float]:
    """The mean of each epoch's losses; the last epoch may be a part of one.

    Args:
        losses: of each batch, in order.
        batches: in an epoch.
    """
    epochs = [losses[start : start + batches] for start in range(0, len(losses), batches)]
    return [math.fsum(epoch) / len(epoch) for epoch in epochs]


def write_losses(run_folder: Path, losses: Sequence[float]) -> Path:
    """Write `base_training.csv`: a line for each epoch, from 1."""
    path = Path(run_folder) / LOSSES_FILE
    lines = [HEADER, *(f"{epoch},{loss!r}" for epoch, loss in enumerate(losses, start=1))]
    write_atomically(path, "\n".join(lines) + "\n")
    return path


def read_losses(run_folder: Path) -> list[float]:
    """What `write_losses` stored; empty where there is no such file, for a base that was kept without it.

    Raises:
        LabError: the file is damaged.
    """
    path = Path(run_folder) / LOSSES_FILE
    if not path.is_file():
        return []
    return read_rows(path, lambda cells: float(cells["loss"]), "a loss for each epoch")
