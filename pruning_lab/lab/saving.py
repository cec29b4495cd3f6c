"""Keeping a run's models: tried before anything is trained, so that no run ends with a model that can't be kept.

Knows checkpoints and the experiment; not how a model is trained or chosen.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from pruning_lab.checkpoint import checkpoint_bytes, load, save
from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import random_kept
from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.experiment import Experiment


def try_saving(lab: Experiment, model: nn.Module, graph: ChannelGraph | None = None) -> None:
    """Save a model beside where the run's will be, load it, and throw it away. Model and random states stay.

    Args:
        graph: the model's channel graph.

    Raises:
        LabError: that fails; the cause is told.
    """
    with random_kept():
        try:
            lab.output.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=lab.output.folder, prefix=".save-") as folder:
                load(save(folder, model, graph, lab.model.builder), trust=True)
        except LabError as error:
            raise LabError(f"the run is not begun, for its model could not be kept: {error}") from error
        except OSError as error:
            raise LabError(
                f"the run is not begun, for nothing can be written in {lab.output.folder}: {error}"
            ) from error


def keep(lab: Experiment, model: nn.Module, graph: ChannelGraph, about: Mapping[str, Any], name: str = "model") -> Path:
    """Save the run's model in its folder. What the proof finds now is told, and the weights are written all the same.

    Raises:
        LabError: the folder can't be written to.
    """
    try:
        return save(lab.output.folder / name, model, graph, lab.model.builder, about)
    except LabError as error:
        lab.output.reporter.warn(str(error))
        return save(lab.output.folder / name, model, graph, lab.model.builder, about, prove=False)


def size_on_disk(lab: Experiment, model: nn.Module) -> int:
    """Bytes of a model's checkpoint."""
    return checkpoint_bytes(model, builder=lab.model.builder)
