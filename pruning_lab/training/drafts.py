"""A training on disk while it goes on, so that a killed one goes on where it was. Must not know what it is for."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from pruning_lab.common.errors import LabError
from pruning_lab.common.versions import versions, write_version
from pruning_lab.training.held import fill, load_optimizer, optimizer_parts, tensors_of
from pruning_lab.training.progress import Keeper, Progress
from pruning_lab.training.saved_files import read_json, read_tensors, write_json, write_tensors

_log = logging.getLogger(__name__)

_CONTENT = "progress.json"


class TrainingDraft:
    """Model, optimizer and progress of one training, in a folder of its own.

    Args:
        folder: made when something is written. Only one process at a time may use it.
        every: see `Keeper`.
    """

    def __init__(self, folder: Path, every: int | str | None = "auto") -> None:
        self._folder, self._every = folder, every
        self._failed = False

    def take_up(self, model: nn.Module, optimizer: Optimizer) -> Progress | None:
        """Where the training was left; model and optimizer, which are as they were before its first step, follow.

        None where nothing was saved, or nothing that fits.
        """
        for place in reversed(versions(self._folder)):
            try:
                content = read_json(place / _CONTENT)
                progress, plain = Progress(**content["progress"]), content["optimizer"]
                weights, moments = (read_tensors(place / f"{name}.safetensors") for name in ("model", "optimizer"))
            except (LabError, KeyError, TypeError) as error:
                _log.warning("The half-done training in %s is damaged (%s); it starts anew.", place, error)
                continue
            fill(model, weights)
            load_optimizer(optimizer, plain, moments)
            return progress
        return None

    def keeper(self, model: nn.Module, optimizer: Optimizer) -> Keeper:
        """What saves this training here."""

        def write(progress: Progress) -> None:
            try:
                write_version(
                    self._folder,
                    f"step_{progress.steps}",
                    lambda draft, _: self._fill(draft, model, optimizer, progress),
                )
                self._failed = False
            except (LabError, OSError) as error:
                if not self._failed:
                    _log.warning("The training is not saved, and goes on (%s).", error)
                self._failed = True

        return Keeper(write, self._every)

    def remove(self) -> None:
        """The training is done."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @staticmethod
    def _fill(draft: Path, model: nn.Module, optimizer: Optimizer, progress: Progress) -> None:
        plain, moments = optimizer_parts(optimizer)
        write_tensors(draft / "model.safetensors", tensors_of(model))
        write_tensors(draft / "optimizer.safetensors", moments)
        write_json(draft / _CONTENT, {"progress": asdict(progress), "optimizer": plain})
