"""A pruned model as a folder of JSON and safetensors, and back: no pickle, and no code from the folder.

`architecture.json` says how the original is built, what every layer had and has, which of the original's filters are
left, and which unused parts were dropped; `weights.safetensors` holds every parameter and buffer. Knows modules and the
channel graph's records.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pruning_lab.checkpoint.trust import Trust, resolve_builder, without_downloads
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.held_tensors import holders_of
from pruning_lab.graph.cutting.module_sizes import fit_attributes
from pruning_lab.surgery.unused import drop, dropped

FORMAT = "pruning_lab/1"
ARCHITECTURE, WEIGHTS = "architecture.json", "weights.safetensors"


@dataclass(frozen=True)
class Builder:
    """How the original is built: a class or function by its dotted path, and keyword arguments that JSON can hold."""

    target: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(model: nn.Module) -> Builder:
        """The model's own class, with arguments read from its attributes of the same names.

        Raises:
            LabError: a constructor argument without a default is not kept as an attribute.
        """
        kind = type(model)
        arguments = {}
        for name, parameter in inspect.signature(kind).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if isinstance(value := getattr(model, name, inspect.Parameter.empty), (int, float, str, bool, list, tuple)):
                arguments[name] = list(value) if isinstance(value, tuple) else value
            elif parameter.default is inspect.Parameter.empty:
                raise LabError(
                    f"{kind.__name__} does not keep its argument '{name}', so it can't be built again from its "
                    "checkpoint; pass save(..., builder=Builder(target, arguments))"
                )
        return Builder(f"{kind.__module__}.{kind.__qualname__}", arguments)


def save(
    folder: str | Path,
    model: nn.Module,
    graph: ChannelGraph | None = None,
    builder: Builder | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write `architecture.json` and `weights.safetensors` into a folder.

    Args:
        graph: the model's channel graph, which knows the original index of every filter that is left.
        builder: how the original is built; by default read off the model.
        about: anything else that JSON can hold (class names, normalization, run), kept under `about`.

    Raises:
        LabError: the builder is missing, or something can't be written as JSON.
    """
    builder = builder or Builder.of(model)
    architecture = {
        "format": FORMAT,
        "builder": {"target": builder.target, "arguments": builder.arguments},
        "layers": _layers(model, graph),
        "groups": _convolution_groups(model),
        "dropped": dropped(model),
        "attributes": _attributes(model, graph),
        "about": dict(about or {}),
    }
    try:
        text = json.dumps(architecture, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise LabError(f"the model's builder or about can't be written as JSON ({error}); use plain values") from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_tensors(model), folder / WEIGHTS)
    (folder / ARCHITECTURE).write_text(text + "\n", encoding="utf-8")
    return folder


def read_architecture(folder: str | Path) -> dict[str, Any]:
    """The content of `architecture.json`.

    Raises:
        LabError: it is missing, is not JSON, or has another format.
    """
    path = Path(folder) / ARCHITECTURE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LabError(f"{path} does not exist; give the folder that save() wrote (a run's is <run>/model)") from error
    except (OSError, ValueError) as error:
        raise LabError(f"{path} can't be read as JSON ({error}); it is damaged, save the model again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LabError(f"{path} is not of format {FORMAT}; it was written by something else")
    if not isinstance(content.get("builder"), dict) or not isinstance(content["builder"].get("target"), str):
        raise LabError(f"{path} names no builder; it is damaged, save the model again")
    return content


def load(folder: str | Path, trust: Trust = ()) -> nn.Module:
    """The pruned model, in evaluation mode, from the folder alone.

    Args:
        trust: packages beyond the project's and the allow-listed model libraries from which a class may be built, e.g.
            `("my_package",)`; True trusts whatever the folder names.

    Raises:
        LabError: a file is missing or damaged, or the folder names something that is not trusted.
    """
    architecture = read_architecture(folder)
    model = original(folder, trust)
    _fill(model, _read_weights(Path(folder) / WEIGHTS), Path(folder) / WEIGHTS)
    groups = architecture.get("groups", {})
    for name, module in model.named_modules():
        fit_attributes(module, groups.get(name, 1))
    _set_attributes(model, architecture.get("attributes", {}), Path(folder) / ARCHITECTURE)
    return model.eval()


def original(folder: str | Path, trust: Trust = ()) -> nn.Module:
    """The network that was pruned, as it was built: of its full widths, untrained, without what was unused in it.

    Args:
        trust: see `load`.

    Raises:
        LabError: `architecture.json` is missing or damaged, or names something that is not trusted.
    """
    architecture = read_architecture(folder)
    target, arguments = architecture["builder"]["target"], architecture["builder"].get("arguments", {})
    build = resolve_builder(target, trust)
    try:
        model = build(**without_downloads(target, arguments))
    except TypeError as error:
        raise LabError(
            f"{Path(folder) / ARCHITECTURE}: {target} can't be built from its arguments ({error})"
        ) from error
    drop(model, architecture.get("dropped", ()))
    return model


def restore_origin(graph: ChannelGraph, folder: str | Path) -> None:
    """Tell a graph that was traced from a loaded model what each filter's index was in the original."""
    for name, layer in read_architecture(folder)["layers"].items():
        if name in graph.layers and len(layer["kept"]) == len(graph.layers[name]):
            graph.original[name] = torch.tensor(layer["kept"], dtype=torch.int64)
            graph.original_widths[name] = layer["original"]


def _layers(model: nn.Module, graph: ChannelGraph | None) -> dict[str, dict[str, Any]]:
    if graph is None:
        return {}
    modules = dict(model.named_modules())
    return {
        name: {
            "type": type(modules[name]).__name__ if name in modules else "Parameter",
            "original": graph.original_widths[name],
            "current": len(kept),
            "kept": kept.tolist(),
        }
        for name, kept in graph.original.items()
    }


def _convolution_groups(model: nn.Module) -> dict[str, int]:
    """Groups of grouped convolutions: their tensors' shapes alone do not tell. Those that are not named have one."""
    convolutions = ((n, m) for n, m in model.named_modules() if isinstance(m, nn.modules.conv._ConvNd))
    return {name: module.groups for name, module in convolutions if module.groups > 1}


def _attributes(model: nn.Module, graph: ChannelGraph | None) -> dict[str, dict[str, Any]]:
    """Attributes that hold numbers of channels and can't be read off a module's own tensors, as a cut left them."""
    if graph is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name in graph.channel_counts:
        found.setdefault(name, {})["num_features"] = model.get_submodule(name).num_features
    for held in graph.held:
        value = getattr(model.get_submodule(held.module), held.attribute)
        found.setdefault(held.module, {})[held.attribute] = list(value) if isinstance(value, tuple) else value
    return found


def _set_attributes(model: nn.Module, attributes: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Numbers go where numbers are, and nowhere else: a folder from a stranger sets nothing but widths."""
    modules = dict(model.named_modules())
    for name, entries in attributes.items():
        for attribute, value in entries.items():
            before = getattr(modules.get(name), attribute, None)
            if not _numbers(value) or not _numbers(before) or isinstance(value, int) != isinstance(before, int):
                raise LabError(f"{path}: attributes.{name}.{attribute} is no width of the model; save the model again")
            kind: Any = type(before)
            setattr(modules[name], attribute, kind(value))


def _numbers(value: Any) -> bool:
    items = value if isinstance(value, (list, tuple)) else [value]
    return all(isinstance(item, int) and not isinstance(item, bool) for item in items)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer once, also buffers that a state dict leaves out."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named}


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise LabError(f"{path} does not exist; the checkpoint is incomplete, save the model again") from error
    except (OSError, SafetensorError) as error:
        raise LabError(f"{path} can't be read ({error}); it is damaged, save the model again") from error


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put tensors of any size in place of the original's."""
    named: Sequence[tuple[str, Tensor]] = [*model.named_parameters(), *model.named_buffers()]
    missing = [name for name, _ in named if name not in tensors]
    unknown = sorted(set(tensors) - {name for name, _ in named})
    if missing or unknown:
        what = f"has no {missing[0]}" if missing else f"has {unknown[0]}, which the model has not"
        raise LabError(f"{path} {what}; architecture.json and the weights do not belong together")
    places = holders_of(dict(model.named_modules()), [tensor for _, tensor in named])
    for name, old in named:
        new = tensors[name]
        if new.dim() != old.dim() or any(n > o for n, o in zip(new.shape, old.shape, strict=True)):
            raise LabError(f"{path}: {name} has shape {tuple(new.shape)}, the original's is {tuple(old.shape)}")
        replacement = nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else new
        for held, key in places[id(old)]:
            held[key] = replacement
