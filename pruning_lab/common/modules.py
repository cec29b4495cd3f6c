"""Modules, their names and modes, and what models return. Knows torch, and nothing of channels or pruning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor, nn


def tensors_in(output: object) -> Iterator[Tensor]:
    """All tensors of a model's output: itself, or nested in mappings, sequences and dataclasses."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for item in output.values():
            yield from tensors_in(item)
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for item in output:
            yield from tensors_in(item)
    elif is_dataclass(output):
        for item in fields(output):
            yield from tensors_in(getattr(output, item.name))


@contextmanager
def in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Training or evaluation mode inside; at the end every module's flag and plain tensors are what they were."""
    modes = {module: module.training for module in model.modules()}
    plain = {module: _plain_tensors(module) for module in modes}
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
            module.__dict__.update(plain[module])


@contextmanager
def random_kept() -> Iterator[None]:
    """Put the random state of the CPU and of every device in use back at the end."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        yield


def _plain_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Tensors that are attributes only, as hooks leave them; tracing would put its own in their place."""
    return {key: item for key, item in vars(module).items() if isinstance(item, Tensor)}


def layer_name(parameter: str) -> str:
    """`down1.conv1.weight` -> `down1.conv1`; a parameter that is not called weight keeps its own name."""
    owner, _, leaf = parameter.rpartition(".")
    if ".parametrizations." in f".{owner}":
        owner, _, leaf = f".{owner}".partition(".parametrizations.")
        owner = owner.removeprefix(".")
    if leaf in {"weight", "weight_g", "weight_v", "weight_orig"}:
        return owner
    return f"{owner}.{leaf}".removeprefix(".")


def submodule(model: nn.Module, layer: str) -> nn.Module | None:
    """The layer's module; None where the layer is a bare parameter."""
    try:
        return model.get_submodule(layer)
    except AttributeError:
        return None


def modules_of(model: nn.Module, layer: str) -> list[nn.Module]:
    """The layer's module and those that share its weight; none where the layer is a bare parameter."""
    own = submodule(model, layer)
    if own is None:
        return []
    weight = own._parameters.get("weight")
    sharing = [module for module in model.modules() if module._parameters.get("weight") is weight]
    return [own] if weight is None else sharing


def channels_second(module: nn.Module, activation: Tensor) -> Tensor:
    """[N, channels, *sides] of a layer's input or output; linear layers have their channels last."""
    return activation.movedim(-1, 1) if isinstance(module, nn.Linear) else activation


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter lies; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
