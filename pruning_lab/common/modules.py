"""Modules, their names and modes, and what models return. Knows torch, and nothing of channels or pruning."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.weight_norm import WeightNorm

from pruning_lab.common.errors import LabError, first_line


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


NamedTensors = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Parameters and buffers by their names."""


def every_path(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """What `named_modules(remove_duplicate=False)` gives, without a generator for each level of each module."""
    found, waiting = [], [("", model)]
    while waiting:
        path, module = waiting.pop()
        found.append((path, module))
        if module._modules:
            prefix = f"{path}." if path else ""
            below = [(prefix + name, child) for name, child in module._modules.items() if child is not None]
            waiting += reversed(below)
    return found


def named_tensors(model: nn.Module) -> NamedTensors:
    """A model's parameters and its buffers by their first names, in torch's own order, in one walk over its modules."""
    parameters: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    seen: set[int] = set()
    for path, module in every_path(model):
        prefix = f"{path}." if path else ""
        for found, named in ((module._parameters, parameters), (module._buffers, buffers)):
            for name, tensor in found.items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    named[prefix + name] = tensor
    return parameters, buffers


def check_has_values(model: nn.Module) -> None:
    """Raises LabError for the first tensor of a model that has a size at most, and no values."""
    parameters, buffers = named_tensors(model)
    for name, tensor in [*parameters.items(), *buffers.items()]:
        if is_lazy(tensor):
            raise LabError(f"{name} of {type(model).__name__} has no size yet; run the model once")
        if tensor.is_meta:
            raise LabError(
                f"{name} of {type(model).__name__} lies on the meta device and has no values; "
                "call model.to_empty(device='cpu') and load or draw its weights"
            )


def told(error: BaseException) -> str:
    """What an exception of a model's code says: its type, its first line, and the module that was running."""
    module = module_at_fault(error)
    return f"{type(error).__name__}: {first_line(error)}" + (f" (in {module})" if module else "")


def module_at_fault(error: BaseException) -> str:
    """The path of the innermost module in whose code an exception was raised; empty where none was running."""
    running = [
        frame.f_locals["self"]
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if isinstance(frame.f_locals.get("self"), nn.Module)
    ]
    if not running:
        return ""
    names = {module: name for name, module in running[0].named_modules()}
    return next((names[module] for module in reversed(running) if module in names), "")


def layer_name(parameter: str) -> str:
    """`down1.conv1.weight` -> `down1.conv1`; a parameter that is not called weight keeps its own name.

    The parts from which a hook computes a weight (weight_norm's, spectral_norm's, those of torch.nn.utils.prune) are
    called weight, too.
    """
    owner, _, leaf = parameter.rpartition(".")
    if ".parametrizations." in f".{owner}":
        owner, _, leaf = f".{owner}".partition(".parametrizations.")
        owner = owner.removeprefix(".")
    if leaf in {"weight", "weight_g", "weight_v", "weight_orig", "weight_mask"}:
        return owner
    return f"{owner}.{leaf}".removeprefix(".")


def naming(parameters: Sequence[str]) -> str:
    """Of the tensors from which a weight is computed the one that names its layer: no mask beside a weight does."""
    return next((name for name in parameters if layer_name(name) != name), parameters[0])


def submodule(model: nn.Module, layer: str) -> nn.Module | None:
    """The layer's module; None where the layer is a bare parameter."""
    try:
        return model.get_submodule(layer)
    except AttributeError:
        return None


def weight_of(module: nn.Module) -> Tensor:
    """The weight with which the module would run now.

    Old hooks (weight_norm, torch.nn.utils.prune) leave the weight of the last forward pass behind, which what was
    trained or cut since may have made stale; it is computed anew from its parts.
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == "weight":
            return hook.apply_mask(module)
        if isinstance(hook, WeightNorm) and hook.name == "weight":
            return hook.compute_weight(module)
    return cast(Tensor, module.weight)


def modules_of(model: nn.Module, layer: str) -> list[nn.Module]:
    """The layer's module and those that share its weight; none where the layer is a bare parameter."""
    own = submodule(model, layer)
    if own is None:
        return []
    weight = own._parameters.get("weight")
    sharing = [module for module in model.modules() if module._parameters.get("weight") is weight]
    return [own] if weight is None else sharing


def channels_second(module: nn.Module, activation: Tensor) -> Tensor:
    """[N, channels, *sides] of a layer's input or output; linear layers and layer norms have their channels behind."""
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        return activation.movedim(-len(module.normalized_shape), 1)
    return activation.movedim(-1, 1) if isinstance(module, nn.Linear) else activation


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter lies; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
