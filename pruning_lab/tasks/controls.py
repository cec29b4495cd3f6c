"""The tasks `scratch`, `flat` and `train_longer`, and the option `random_at_widths`: controls of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pruning_lab.checkpoint import read_architecture
from pruning_lab.common.errors import LabError
from pruning_lab.importance.controls.at_widths import RandomAtWidths
from pruning_lab.lab import controls
from pruning_lab.lab.output.run_folder import Run, read_run
from pruning_lab.tasks.assembly import BASE_KEYS, experiment_of
from pruning_lab.tasks.config import leaves, plain
from pruning_lab.tasks.outcome import Outcome, returned

SHARED_KEYS = (*BASE_KEYS, "recovery", "distillation", "selection", "max_steps")
"""What a control that goes through the steps of a run shares with it."""


def scratch(
    config: DictConfig, folder: Path, choices: Mapping[str, Any], run: str, same: str = "epochs", trust: bool = False
) -> Outcome:
    """Control: train the pruned network of a finished run from fresh weights.

    Args:
        run: the run's folder.
        same: what is spent as the run spent it, `epochs` or `compute` (FLOPs x images).
        trust: build whatever class the run's checkpoint names; the model of this config is trusted anyway.
    """
    experiment = experiment_of(config, folder, choices)
    reference = run_to_compare_with(config, run, BASE_KEYS)
    trusted = trust or (config.model._target_.partition(".")[0],)
    return returned(config, controls.scratch(experiment, reference, same, trusted))


def flat(config: DictConfig, folder: Path, choices: Mapping[str, Any], run: str, same: str = "epochs") -> Outcome:
    """Control: train a U-Net that is as narrow at every level, with as many weights as a finished run's network.

    Args:
        run: the run's folder.
        same: what is spent as the run spent it, `epochs` or `compute` (FLOPs x images).
    """
    experiment = experiment_of(config, folder, choices)
    reference = run_to_compare_with(config, run, BASE_KEYS)
    return returned(config, controls.flat(experiment, reference, same))


def train_longer(config: DictConfig, folder: Path, choices: Mapping[str, Any], run: str) -> Outcome:
    """Control: give the base all the recoveries of a finished run, without its cuts.

    Args:
        run: the run's folder.
    """
    experiment = experiment_of(config, folder, choices)
    reference = run_to_compare_with(config, run, (*BASE_KEYS, "recovery", "distillation"))
    return returned(config, controls.train_longer(experiment, reference))


def run_to_compare_with(config: DictConfig, folder: str, shared: Sequence[str]) -> Run:
    """A finished run, if it has the same settings as this config.

    Args:
        config: with everything filled in that comes from the data.
        shared: top-level keys of which no setting may differ.

    Raises:
        LabError: one does.
    """
    run = read_run(Path(folder))
    for key in shared:
        if key not in run.config:
            continue
        here, there = (dict(leaves(plain(of[key]), key)) for of in (config, run.config))
        for name in sorted((here.keys() | there.keys()) - {"base.reuse"}):
            if here.get(name) != there.get(name):
                raise LabError(
                    f"{name} is {here.get(name)} here and {there.get(name)} in {folder}: a control differs from its "
                    f"run in nothing else; give the run's own settings, {name}={there.get(name)}"
                )
    return run


def random_at_widths(run: str | Path, seed: int = 0) -> RandomAtWidths:
    """Random filters down to the widths that the model of a finished run has.

    Args:
        run: the run's folder.
        seed: of the draws.

    Raises:
        LabError: the folder holds no pruned model.
    """
    folder = Path(run) / "model"
    layers = read_architecture(folder).get("layers")
    if not layers:
        raise LabError(f"importance.run: {folder} tells no widths; give the folder of a finished run")
    return RandomAtWidths({name: int(layer["current"]) for name, layer in layers.items()}, seed)
