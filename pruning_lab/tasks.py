"""What `task=...` can be: each takes a checked config, the run's folder and the choices, and may return a number."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from pruning_lab import lab
from pruning_lab.checkpoint import Builder
from pruning_lab.config import build, fill_null, flat_parameters, plain
from pruning_lab.data import SegmentationData
from pruning_lab.devices import TrainSettings, seed_everything
from pruning_lab.errors import LabError
from pruning_lab.experiment import Experiment
from pruning_lab.inspection import inspect_model
from pruning_lab.report.channel_graph import channel_graph
from pruning_lab.report.console import ConsoleReporter
from pruning_lab.report.inspect import layers_table, reads_table, sentences, write_inspection
from pruning_lab.tracking import git_commit
from pruning_lab.unused import WithoutUnused, drop_unused

BASE_KEYS = ("model", "augmentation", "loss", "base", "precision", "channels_last", "clip_norm", "drop_unused")
"""What of the config goes into a trained base; the data's fingerprint, the batch size and the code come on top."""


def prune(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> float:
    """Prune a network; returns the summary metric that `returns` names."""
    experiment = experiment_of(config, folder, choices)
    summary = lab.prune(experiment)
    if config.returns not in summary:
        raise LabError(f"returns={config.returns} is not in the run's summary; use one of {', '.join(sorted(summary))}")
    return summary[config.returns]


def inspect(
    config: DictConfig,
    folder: Path,
    choices: Mapping[str, Any],
    size: Sequence[int] = (256, 256),
    channels: int | None = None,
    classes: int = 2,
) -> None:
    """Look a model over, without data and without training; tables and a picture go into the run's folder.

    Args:
        size: height and width of the image.
        channels: of the image; None takes the model's `in_channels`, else 3.
        classes: for a model that leaves them open.

    Raises:
        LabError: a size is impossible, or the model does not run on such an image.
    """
    image = _blank_image(config, size, channels)
    fill_null(config.model, classes=classes, in_channels=image.shape[1])
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    seed_everything(config.seed)
    model = build(config.model)
    gone = drop_unused(model, image) if config.drop_unused else []
    parts = (build(config.floors), build(config.selection), build(config.stop), build(config.importance))
    facts = inspect_model(model, image, *parts, dropped=tuple(gone))
    reporter = ConsoleReporter()
    reporter.show(layers_table(facts))
    reporter.show(reads_table(facts))
    for line in sentences(facts):
        reporter.say(line)
    write_inspection(folder, facts)
    channel_graph(facts, folder / "figures" / "channel_graph.png")
    reporter.say(f"saved in {folder}")


def _blank_image(config: DictConfig, size: Sequence[int], channels: int | None) -> Tensor:
    """Zeros, float32 [1, channels, *size]."""
    if channels is None:
        channels = config.model.get("in_channels") or 3
    if len(size) != 2 or min(*size, channels) < 1:
        raise LabError(f"task.size={list(size)} with {channels} channels is no image; give [height, width]")
    return torch.zeros(1, channels, *size)


def experiment_of(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Experiment:
    """The experiment that a config describes; the resolved config is written to the run's folder."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    data: SegmentationData = build(config.data)
    _fill_from_data(config, data)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
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
        validation=build(config.validation),
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
        max_steps=config.max_steps,
        parameters=flat_parameters(config, choices),
        tags={"git_commit": git_commit(), "command": _command(), "run_folder": str(folder)},
    )


def _fill_from_data(config: DictConfig, data: SegmentationData) -> None:
    """Null means: taken from the data, or from the stop rule."""
    fill_null(config.model, classes=len(data.class_names), in_channels=data.channels)
    fill_null(config.loss, ignore_index=data.ignore_index)
    for resource in ("flops", "weights"):
        if OmegaConf.is_dict(config.stop) and config.stop.get(resource) is not None:
            fill_null(config.validation.promise, **{resource: config.stop[resource]})
    fill_null(config.validation.promise, either=str(config.stop.get("_target_")).endswith(".Either"))


def _model_builder(config: DictConfig, data: SegmentationData) -> Callable[[], nn.Module]:
    """What makes the untrained model, without unused layers where these are to be dropped."""
    if not config.drop_unused:
        return lambda: build(config.model)
    image, _ = data.train[0]
    return WithoutUnused(lambda: build(config.model), torch.zeros(1, data.channels, *image.shape[:2]))


def _run_name(config: DictConfig, choices: Mapping[str, Any]) -> str:
    """`ipad flops 0.25 seed 1`: what usually tells the runs of a comparison apart."""
    budget = [f"{key} {value}" for key, value in plain(config.stop).items() if not key.startswith("_")]
    return " ".join([str(choices.get("importance", "")), *budget, f"seed {config.seed}"]).strip()


def _base_recipe(config: DictConfig) -> dict[str, Any]:
    recipe = {key: plain(config[key]) for key in BASE_KEYS}
    recipe["base"] = {key: value for key, value in recipe["base"].items() if key != "cache"}
    return {**recipe, "batch_size": config.loader.get("batch_size")}


def _command() -> str:
    return "python -m pruning_lab " + shlex.join(sys.argv[1:])
