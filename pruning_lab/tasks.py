"""What `task=...` can be: each takes a checked config, the run's folder and the choices, and may return a number."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from pruning_lab import __version__, controls, lab
from pruning_lab.checkpoint import Builder
from pruning_lab.config import build, fill_null, find, flat_parameters, leaves, plain
from pruning_lab.data import SegmentationData
from pruning_lab.devices import TrainSettings
from pruning_lab.errors import LabError
from pruning_lab.experiment import Experiment
from pruning_lab.graph.connections import Connections
from pruning_lab.importance.at_widths import RandomAtWidths
from pruning_lab.report.console import ConsoleReporter
from pruning_lab.report.runs import RANDOM_CONTROLS, Run, read_run
from pruning_lab.stopping import RESOURCES
from pruning_lab.tracking import git_commit
from pruning_lab.unused import WithoutUnused

BASE_KEYS = ("model", "augmentation", "loss", "base", "precision", "channels_last", "clip_norm", "drop_unused")
"""What of the config goes into a trained base; the data's fingerprint, the batch size and the code come on top."""


SHARED_KEYS = (*BASE_KEYS, "recovery", "distillation", "selection", "max_steps")
"""What a control that goes through the steps of a run shares with it."""


def prune(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> float:
    """Prune a network; returns the summary metric that `returns` names."""
    return returned(config, lab.prune(pruning_of(config, prepared_data(config), folder, choices)))


def pruning_of(config: DictConfig, data: SegmentationData, folder: Path, choices: Mapping[str, Any]) -> Experiment:
    """The experiment that prunes as a filled config says; the config is written to the run's folder."""
    experiment = _recorded(config, data, folder, choices)
    if choices.get("importance") in RANDOM_CONTROLS:
        experiment = replace(experiment, tags={**experiment.tags, "control": choices["importance"]})
    if isinstance(experiment.importance, RandomAtWidths):
        run = _run_to_compare_with(config, config.importance.run, SHARED_KEYS)
        experiment = controls.to_the_widths_of(run, experiment)
    return experiment


def scratch(
    config: DictConfig, folder: Path, choices: Mapping[str, Any], run: str, same: str = "epochs", trust: bool = False
) -> float:
    """Control: train the pruned network of a finished run from fresh weights.

    Args:
        run: the run's folder.
        same: what is spent as the run spent it, `epochs` or `compute` (FLOPs x images).
        trust: build whatever class the run's checkpoint names; the model of this config is trusted anyway.
    """
    experiment = experiment_of(config, folder, choices)
    reference = _run_to_compare_with(config, run, BASE_KEYS)
    trusted = trust or (config.model._target_.partition(".")[0],)
    return returned(config, controls.scratch(experiment, reference, same, trusted))


def flat(config: DictConfig, folder: Path, choices: Mapping[str, Any], run: str, same: str = "epochs") -> float:
    """Control: train a U-Net that is as narrow at every level, with as many weights as a finished run's network.

    Args:
        run: the run's folder.
        same: what is spent as the run spent it, `epochs` or `compute` (FLOPs x images).
    """
    experiment = experiment_of(config, folder, choices)
    reference = _run_to_compare_with(config, run, BASE_KEYS)
    return returned(config, controls.flat(experiment, reference, same))


def train_longer(config: DictConfig, folder: Path, choices: Mapping[str, Any], run: str) -> float:
    """Control: give the base all the recoveries of a finished run, without its cuts.

    Args:
        run: the run's folder.
    """
    experiment = experiment_of(config, folder, choices)
    reference = _run_to_compare_with(config, run, (*BASE_KEYS, "recovery", "distillation"))
    return returned(config, controls.train_longer(experiment, reference))


def _run_to_compare_with(config: DictConfig, folder: str, shared: Sequence[str]) -> Run:
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
        for name in sorted((here.keys() | there.keys()) - {"base.cache"}):
            if here.get(name) != there.get(name):
                raise LabError(
                    f"{name} is {here.get(name)} here and {there.get(name)} in {folder}: a control differs from its "
                    f"run in nothing else; give the run's own settings, {name}={there.get(name)}"
                )
    return run


def returned(config: DictConfig, summary: Mapping[str, float]) -> float:
    """The summary metric that `returns` names. Raises LabError where there is none of that name."""
    if config.returns not in summary:
        raise LabError(f"returns={config.returns} is not in the run's summary; use one of {', '.join(sorted(summary))}")
    return summary[config.returns]


def experiment_of(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Experiment:
    """The experiment that a config describes; the resolved config is written to the run's folder."""
    return _recorded(config, prepared_data(config), folder, choices)


def _recorded(config: DictConfig, data: SegmentationData, folder: Path, choices: Mapping[str, Any]) -> Experiment:
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    return assemble(config, data, folder, choices)


def prepared_data(config: DictConfig) -> SegmentationData:
    """The data that a config describes; what the config leaves to the data is filled in."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    data: SegmentationData = build(config.data)
    fill_from_data(config, data)
    return data


def assemble(config: DictConfig, data: SegmentationData, folder: Path, choices: Mapping[str, Any]) -> Experiment:
    """The experiment that a filled config describes. Writes nothing."""
    fill_null(config.tracking, run_name=_run_name(config, choices))
    model = plain(config.model)
    arguments = {key: value for key, value in model.items() if key not in ("_target_", "_convert_")}
    return Experiment(
        build_model=_model_builder(config, data),
        builder=Builder(model["_target_"], arguments),
        data=data,
        augmentation=build(config.augmentation),
        make_loaders=build(config.loader),
        loss=build(config.loss),
        base=build(config.base),
        importance=build(config.importance),
        selection=build(config.selection),
        floors=build(config.floors),
        stop=build(config.stop),
        recovery=build(config.recovery),
        distillation=build(config.distillation),
        validation=build(config.validation),
        latency=build(config.latency),
        tracker=build(config.tracking),
        reporter=ConsoleReporter(),
        settings=TrainSettings(config.device, config.precision, config.channels_last, config.clip_norm),
        folder=folder,
        output_root=Path(config.output_root).absolute(),
        base_cache=Path(config.base_cache).absolute(),
        base_recipe=_base_recipe(config),
        seed=config.seed,
        deterministic=config.deterministic,
        verify=config.verify,
        connections=connections_of(config),
        max_steps=config.max_steps,
        parameters=flat_parameters(config, choices),
        tags={
            "git_commit": git_commit(Path(__file__).parent),
            "version": __version__,
            "command": _command(),
            "run_folder": str(folder),
        },
    )


def fill_from_data(config: DictConfig, data: SegmentationData) -> None:
    """Null means: taken from the data, or from the stop rule."""
    fill_null(config.model, classes=len(data.class_names), in_channels=data.channels)
    fill_null(config.loss, ignore_index=data.ignore_index)
    for resource in RESOURCES:
        if OmegaConf.is_dict(config.stop) and config.stop.get(resource) is not None:
            fill_null(config.validation.promise, **{resource: config.stop[resource]})
    fill_null(config.validation.promise, either=str(config.stop.get("_target_")).endswith((".Either", ".AnyOf")))


def connections_of(config: DictConfig) -> Connections | None:
    """The function that `connections` names."""
    return None if config.connections is None else find("connections", config.connections)


def _model_builder(config: DictConfig, data: SegmentationData) -> Callable[[], nn.Module]:
    """What makes the untrained model, without unused layers where these are to be dropped."""
    if not config.drop_unused:
        return lambda: build(config.model)
    image, _ = data.train[0]
    return WithoutUnused(
        lambda: build(config.model), torch.zeros(1, data.channels, *image.shape[:2]), connections_of(config)
    )


def _run_name(config: DictConfig, choices: Mapping[str, Any]) -> str:
    """`ipad flops 0.25 seed 1`: what usually tells the runs of a comparison apart; a control leads with its task."""
    task = choices.get("task", "prune")
    if task != "prune":
        return f"{task} {config.task.get('same', '')} seed {config.seed}".replace("  ", " ")
    budget = [f"{key} {value}" for key, value in plain(config.stop).items() if not key.startswith("_")]
    return " ".join([str(choices.get("importance", "")), *budget, f"seed {config.seed}"]).strip()


def _base_recipe(config: DictConfig) -> dict[str, Any]:
    recipe = {key: plain(config[key]) for key in BASE_KEYS}
    recipe["base"] = {key: value for key, value in recipe["base"].items() if key != "cache"}
    return {**recipe, "batch_size": config.loader.get("batch_size")}


def _command() -> str:
    return "python -m pruning_lab " + shlex.join(sys.argv[1:])
