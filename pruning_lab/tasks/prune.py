"""The task `prune`: one network, pruned to one budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pruning_lab.data import SegmentationData
from pruning_lab.importance.controls.at_widths import RandomAtWidths
from pruning_lab.lab import controls
from pruning_lab.lab import resume as lab
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.run_folder import RANDOM_CONTROLS
from pruning_lab.tasks.assembly import prepared_data, recorded
from pruning_lab.tasks.controls import SHARED_KEYS, run_to_compare_with
from pruning_lab.tasks.outcome import Outcome, returned


def prune(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Outcome:
    """Prune a network, from where the run in the folder stands; returns the summary metric that `returns` names."""
    return returned(config, lab.prune(pruning_of(config, prepared_data(config), folder, choices)))


def pruning_of(config: DictConfig, data: SegmentationData, folder: Path, choices: Mapping[str, Any]) -> Experiment:
    """The experiment that prunes as a filled config says; the config is written to the run's folder."""
    experiment = recorded(config, data, folder, choices)
    if choices.get("importance") in RANDOM_CONTROLS:
        tags = {**experiment.output.tags, "control": choices["importance"]}
        experiment = replace(experiment, output=replace(experiment.output, tags=tags))
    if isinstance(experiment.pruning.importance, RandomAtWidths):
        run = run_to_compare_with(config, config.importance.run, SHARED_KEYS)
        experiment = controls.to_the_widths_of(run, experiment)
    return experiment
