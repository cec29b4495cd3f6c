"""From a checked config to the experiment that it describes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from pruning_lab import __version__
from pruning_lab.checkpoint import Builder
from pruning_lab.common.commit import git_commit
from pruning_lab.common.errors import LabError
from pruning_lab.common.ranks import place_here
from pruning_lab.data import SegmentationData, augmentation_of
from pruning_lab.graph.tracing.connections import Connections
from pruning_lab.importance import Importance
from pruning_lab.lab.experiment import DataPart, Experiment, ModelPart, OutputPart, PruningPart, TrainingPart
from pruning_lab.lab.output.console import ConsoleReporter
from pruning_lab.lab.output.history import SUMMARY
from pruning_lab.resources.latency import Target
from pruning_lab.resources.table import MILLISECONDS, RESOURCES
from pruning_lab.surgery.unused import WithoutUnused
from pruning_lab.tasks.config import build, fill_null, find, flat_parameters, plain, signature_of, write_config
from pruning_lab.tasks.naming import ordered, run_name, sweep_of, typed_for
from pruning_lab.tasks.outcome import names_of
from pruning_lab.tasks.search.judge import judge_of_this_job
from pruning_lab.training.compute import ComputeSettings, resolve_device
from pruning_lab.training.threads import Threads

BASE_KEYS = ("model", "augmentation", "loss", "base", "precision", "channels_last", "clip_norm", "drop_unused")
"""What of the config goes into a trained base; the data's fingerprint, the batch size and the code come on top."""


def experiment_of(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Experiment:
    """The experiment that a config describes; the resolved config is written to the run's folder."""
    return recorded(config, prepared_data(config), folder, choices)


def recorded(config: DictConfig, data: SegmentationData, folder: Path, choices: Mapping[str, Any]) -> Experiment:
    """The experiment that a filled config describes; the config is written to the run's folder."""
    write_config(config, folder)
    return assemble(config, data, folder, choices)


def prepared_data(config: DictConfig) -> SegmentationData:
    """The data that a config describes; what the config leaves to the data is filled in.

    Raises:
        LabError: `returns` names no summary metric, which is said before anything is read; or what the data raises.
    """
    for name in names_of(config.returns):
        if name not in SUMMARY:
            raise LabError(f"returns={name} is no summary metric of a run; use one of {', '.join(SUMMARY)}")
    threads_of(config)()
    data: SegmentationData = build(config.data)
    fill_from_data(config, data)
    return data


def threads_of(config: DictConfig) -> Threads:
    """What sets the number of threads, as a config says."""
    return Threads(config.threads, steady=config.deterministic)


def assemble(config: DictConfig, data: SegmentationData, folder: Path, choices: Mapping[str, Any]) -> Experiment:
    """The experiment that a filled config describes. Writes nothing."""
    fill_null(config.tracking, run_name=run_name(config, choices, typed_for(folder)))
    return Experiment(
        model=_model_part(config, data),
        data=DataPart(data, augmentation_of(build(config.augmentation)), build(config.loader)),
        training=_training_part(config),
        pruning=_pruning_part(config),
        output=_output_part(config, folder, choices),
    )


def _model_part(config: DictConfig, data: SegmentationData) -> ModelPart:
    model = plain(config.model)
    arguments = {key: value for key, value in model.items() if key not in ("_target_", "_convert_")}
    return ModelPart(
        _model_builder(config, data), Builder(model["_target_"], arguments), connections=connections_of(config)
    )


def _training_part(config: DictConfig) -> TrainingPart:
    return TrainingPart(
        loss=build(config.loss),
        base=build(config.base),
        recovery=build(config.recovery),
        distillation=build(config.distillation),
        settings=ComputeSettings(
            config.device, config.precision, config.channels_last, config.clip_norm, devices_of(config)
        ),
        bases=Path(config.bases).absolute(),
        base_recipe=_base_recipe(config),
        seed=config.seed,
        deterministic=config.deterministic,
        save_every=config.save_every,
        longest_pass=config.longest_pass,
        threads=threads_of(config),
    )


def devices_of(config: DictConfig) -> int:
    """How many processes share each training: as many as the config says, or as torchrun or srun have started."""
    place = place_here()
    devices = config.get("devices")
    if devices is None:
        devices = 1 if place is None else place.size
    if place is not None and devices != place.size:
        raise LabError(f"devices={devices}, and {place.size} processes were started; set devices=null")
    gpus, here = torch.cuda.device_count(), devices if place is None else place.local_size
    if here > 1 and resolve_device(config.device).type == "cuda" and here > gpus:
        raise LabError(f"devices={devices} needs {here} GPUs on this machine, which has {gpus}; set devices={gpus}")
    return int(devices)


def _pruning_part(config: DictConfig) -> PruningPart:
    return PruningPart(
        importance=importance_of(config),
        selection=build(config.selection),
        floors=build(config.floors),
        stop=build(config.stop),
        compensation=build(config.compensation),
        validation=build(config.validation),
        latency=build(config.latency),
        target=build(config.target),
        max_steps=config.max_steps,
        verify=config.verify,
        check=config.check,
    )


def importance_of(config: DictConfig) -> Importance:
    """The importance that a config describes.

    Every method in it that takes a loss and is given none gets the run's, wherever it stands: what the loss ignores,
    and how it weighs classes, is the same for a method that others are wrapped around.
    """
    node = plain(config.importance)
    _give_loss(node, plain(config.loss))
    method: Importance = build(node)
    return method


def _give_loss(node: Any, loss: Any) -> None:
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _give_loss(inner, loss)
    if isinstance(node, dict) and "_target_" in node:
        signature = signature_of("importance", node["_target_"])
        if signature is not None and "loss" in signature.parameters:
            node.setdefault("loss", loss)


def _output_part(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> OutputPart:
    return OutputPart(
        folder=folder,
        root=Path(config.output_root).absolute(),
        tracker=build(config.tracking),
        reporter=ConsoleReporter(),
        parameters=ordered(flat_parameters(config, choices), typed_for(folder)),
        tags={
            "git_commit": git_commit(Path(__file__).parent),
            "version": __version__,
            "command": _command(),
            "run_folder": str(folder),
        },
        sweep=sweep_of(folder, config.name),
        judge=judge_of_this_job(),
        pictures=config.pictures,
    )


def fill_from_data(config: DictConfig, data: SegmentationData) -> None:
    """Null means: taken from the data, or from the stop rule."""
    fill_null(config.model, classes=len(data.class_names), in_channels=data.channels)
    if config.model.get("in_channels", data.channels) != data.channels:
        raise LabError(
            f"model.in_channels={config.model.in_channels}, and images have {data.channels} channels; leave it null, "
            "or choose the images' channels by data.channels"
        )
    fill_null(config.loss, ignore_index=data.ignore_index)
    fill_rounding(config)
    for resource in (*RESOURCES, MILLISECONDS):
        if OmegaConf.is_dict(config.stop) and config.stop.get(resource) is not None:
            fill_null(config.validation.promise, **{resource: config.stop[resource]})
    fill_null(config.validation.promise, either=bool(getattr(build(config.stop), "one_is_enough", False)))


ON_CUDA = 8
"""The multiple of filters that GPUs' matrix units want, in 16-bit types and TF32."""


def fill_rounding(config: DictConfig) -> None:
    """Widths suit the target's device, unless the config says otherwise."""
    target: Target = build(config.target) or Target()
    device = str(resolve_device(target.device_in(config.device)))
    fill_null(config.selection, round_to=ON_CUDA if device.startswith("cuda") else 1)


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


def _base_recipe(config: DictConfig) -> dict[str, Any]:
    recipe = {key: plain(config[key]) for key in BASE_KEYS}
    recipe["base"] = {key: value for key, value in recipe["base"].items() if key != "reuse"}
    return {**recipe, "batch_size": config.loader.get("batch_size")}


def _command() -> str:
    return "python -m pruning_lab " + shlex.join(sys.argv[1:])
