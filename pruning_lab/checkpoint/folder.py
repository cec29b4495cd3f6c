"""A pruned model as a folder of JSON and safetensors, and back: no pickle, and no code from the folder.

`architecture.json` says how the original is built, what every layer had and has, which of the original's filters are
left, and which unused parts were dropped; `weights.safetensors` holds every parameter and buffer. Before anything is
written, the model is built again from what is to be written, and must be the same network. Knows modules and the
channel graph's records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialized
from torch import Tensor, nn

from pruning_lab.checkpoint.architecture import (
    ARCHITECTURE,
    FORMAT,
    architecture_text,
    read_architecture,
    write_architecture,
)
from pruning_lab.checkpoint.bounds import Bounds, OutOfBoundsError, build_within
from pruning_lab.checkpoint.builder import Builder, forgotten
from pruning_lab.checkpoint.sameness import difference
from pruning_lab.checkpoint.trust import Trust, is_trusted, resolve_builder, safe_arguments, shown
from pruning_lab.checkpoint.weights import fill, new_weights, read_weights, tensors_of
from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.files import is_full
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.module_sizes import channel_attribute, fit_attributes, held_value, set_held_value
from pruning_lab.surgery.unused import drop, dropped


def save(
    folder: str | Path,
    model: nn.Module,
    graph: ChannelGraph | None = None,
    builder: Builder | None = None,
    about: Mapping[str, Any] | None = None,
    prove: bool = True,
) -> Path:
    """Write `architecture.json` and `weights.safetensors` into a folder.

    A folder that holds a model keeps it until the new one is written whole.

    Args:
        graph: the model's channel graph, which knows the original index of every filter that is left.
        builder: how the original is built; by default read off the model.
        about: anything else that JSON can hold (class names, normalization, run), kept under `about`.
        prove: build the model again first, and compare.

    Raises:
        LabError: the builder is missing or gives another network, something can't be written as JSON, or the folder
            can't be written to.
    """
    given = builder or Builder.of(model)
    tensors = tensors_of(model)
    architecture = _architecture(model, graph, given, about)
    architecture_text(architecture)
    if prove:
        _prove(model, architecture, tensors, [] if builder else forgotten(model, given))
    folder = Path(folder)
    try:
        # Both are on the disk before either takes the place of an old one: a disk may be full in between.
        with new_weights(folder, tensors) as checksum:
            write_architecture(folder, architecture_text({**architecture, "weights": {"sha256": checksum}}))
    except OSError as error:
        mend = "make room there" if is_full(error) else "give a folder that can be written"
        what = error.strerror or first_line(error)
        raise LabError(f"the model can't be saved in {folder} ({what}); {mend}") from error
    return folder


def checkpoint_bytes(model: nn.Module, builder: Builder | None = None) -> int:
    """Bytes that `save` would write for a model without its graph; nothing is written."""
    architecture = _architecture(model, None, builder or Builder.of(model), None)
    text = architecture_text({**architecture, "weights": {"sha256": hashlib.sha256().hexdigest()}})
    return len(serialized(tensors_of(model))) + len(text.encode())


def load(folder: str | Path, trust: Trust = ()) -> nn.Module:
    """The pruned model, in evaluation mode, from the folder alone.

    A folder may come from a stranger: it reaches neither the network nor the rest of the disk, takes no more memory
    than its weights and little besides, and builds classes of the project and of allow-listed model libraries only.
    A model of your own is built when you vouch for the package that defines it, whose constructor then runs:

        save("nets/eye", EyeNet(width=32), builder=Builder("my_package.nets.EyeNet", {"width": 32}))
        model = load("nets/eye", trust=("my_package",))

    Args:
        trust: packages beyond the project's and the allow-listed model libraries from which a class may be built, e.g.
            `("my_package",)`; True trusts whatever the folder names.

    Raises:
        LabError: a file is missing or damaged, or the folder names something that is not trusted or does not fit.
    """
    architecture = read_architecture(folder)
    target = architecture["builder"]["target"]
    build = resolve_builder(target, trust)
    try:
        arguments = safe_arguments(target, build, architecture["builder"]["arguments"], trust)
        tensors = read_weights(folder, architecture["weights"]["sha256"])
        model = _built(target, build, arguments, tensors, isolated=not is_trusted(target, trust))
        return _as_saved(model, architecture, tensors).eval()
    except (LabError, RecursionError) as error:
        what = " ".join(str(error).split())
        raise LabError(what if str(folder) in what else f"{Path(folder) / ARCHITECTURE}: {what}") from error


def original(folder: str | Path, trust: Trust = ()) -> nn.Module:
    """The network that was pruned, of its full widths, untrained, without what was unused in it.

    It takes the memory that its builder asks for, so that a stranger's folder must have been loaded before.

    Args:
        trust: see `load`.

    Raises:
        LabError: `architecture.json` is missing or damaged, or names something that is not trusted.
    """
    architecture = read_architecture(folder)
    target = architecture["builder"]["target"]
    build = resolve_builder(target, trust)
    model = build(**safe_arguments(target, build, architecture["builder"]["arguments"], trust))
    drop(model, architecture["dropped"])
    return model


def restore_origin(graph: ChannelGraph, folder: str | Path) -> None:
    """Tell a graph that was traced from a loaded model what each filter's index was in the original."""
    for name, layer in read_architecture(folder)["layers"].items():
        if name in graph.layers and len(layer["kept"]) == len(graph.layers[name]):
            graph.original[name] = torch.tensor(layer["kept"], dtype=torch.int64)
            graph.original_widths[name] = layer["original"]


def _architecture(
    model: nn.Module, graph: ChannelGraph | None, builder: Builder, about: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The content of `architecture.json`, but for the weights' checksum."""
    return {
        "format": FORMAT,
        "builder": {"target": builder.target, "arguments": builder.arguments},
        "layers": _layers(model, graph),
        "groups": _convolution_groups(model),
        "dropped": dropped(model),
        "attributes": _attributes(model, graph),
        "about": dict(about or {}),
        "weights": {"sha256": ""},
    }


def _prove(
    model: nn.Module, architecture: Mapping[str, Any], tensors: Mapping[str, Tensor], defaults: list[str]
) -> None:
    """Build the model as `load` will.

    Args:
        defaults: arguments of its constructor that could not be read off the model.

    Raises:
        LabError: it can't be built, or is another network.
    """
    target, arguments = architecture["builder"]["target"], architecture["builder"]["arguments"]
    try:
        build = resolve_builder(target, trust=True)
        again = _built(target, build, safe_arguments(target, build, arguments, True), tensors, isolated=False)
        what = difference(model, _as_saved(again, architecture, tensors))
    except LabError as error:
        what = str(error)
    if what:
        kept = f" (it keeps no argument {', '.join(defaults)})" if defaults else ""
        raise LabError(
            f"{type(model).__name__} would not come back from its checkpoint: built again as {target}, {what}; pass "
            f"save(..., builder=Builder(target, arguments)) with all that it was built with{kept}"
        )


def _built(
    target: str,
    build: Callable[..., nn.Module],
    arguments: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    isolated: bool,
) -> nn.Module:
    """The original, whose large tensors may have no memory, and which is no larger than the weights allow."""
    try:
        model = build_within(Bounds.of(tensors), lambda: build(**arguments), isolated=isolated)
    except OutOfBoundsError as error:
        raise LabError(f"{shown(target)} with the builder's arguments does not fit the weights: {error}") from error
    except Exception as error:  # a constructor may say anything to arguments that it was not made for
        what = f"{type(error).__name__}: {first_line(error)}"
        raise LabError(f"{shown(target)} can't be built from its arguments ({what})") from error
    if not isinstance(model, nn.Module):
        raise LabError(f"{shown(target)} builds a {type(model).__name__}, which is no model")
    return model


def _as_saved(model: nn.Module, architecture: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """The original, made into what is left of it, in place."""
    drop(model, architecture["dropped"])
    fill(model, tensors)
    modules = dict(model.named_modules(remove_duplicate=False))
    groups = _checked_groups(modules, architecture["groups"])
    for name, module in model.named_modules():
        fit_attributes(module, groups.get(name, 1))
    _set_attributes(modules, architecture["attributes"])
    return model


def _layers(model: nn.Module, graph: ChannelGraph | None) -> dict[str, dict[str, Any]]:
    if graph is None:
        return {}
    modules = dict(model.named_modules(remove_duplicate=False))
    return {
        name: {
            "type": type(modules[name]).__name__ if name in modules else "Parameter",
            "original": graph.original_widths[name],
            "current": len(row),
            "kept": graph.original[name].tolist(),
        }
        for name, row in graph.layers.items()
    }


def _convolution_groups(model: nn.Module) -> dict[str, int]:
    """Groups of grouped convolutions: their tensors' shapes alone do not tell. Those that are not named have one."""
    convolutions = ((n, m) for n, m in model.named_modules() if isinstance(m, nn.modules.conv._ConvNd))
    return {name: module.groups for name, module in convolutions if module.groups > 1}


def _checked_groups(modules: Mapping[str, nn.Module], groups: Mapping[str, int]) -> Mapping[str, int]:
    """Raises LabError where a convolution can't have that many groups."""
    for name, count in groups.items():
        module = modules.get(name)
        if not isinstance(module, nn.modules.conv._ConvNd):
            raise LabError(f"groups.{shown(name)} is no convolution of the model; save the model again")
        outermost = module.weight.shape[0]
        if count > 1 and (outermost % count or count > outermost):
            raise LabError(f"groups.{name}={count} does not divide its {outermost} filters; save the model again")
    return groups


def _attributes(model: nn.Module, graph: ChannelGraph | None) -> dict[str, dict[str, Any]]:
    """Attributes that hold numbers of channels and can't be read off a module's own tensors, as a cut left them."""
    if graph is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name in graph.channel_counts:
        module = model.get_submodule(name)
        if attribute := channel_attribute(module):
            found.setdefault(name, {})[attribute] = getattr(module, attribute)
    for held in graph.held:
        value = held_value(model.get_submodule(held.module), held.attribute)
        found.setdefault(held.module, {})[held.attribute] = list(value) if isinstance(value, tuple) else value
    return found


def _set_attributes(modules: Mapping[str, nn.Module], attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Smaller numbers go where numbers are, and nowhere else: a folder from a stranger sets nothing but widths."""
    for name, entries in attributes.items():
        for attribute, value in entries.items():
            before = held_value(modules[name], attribute) if name in modules else None
            if not _fits_width(value, before):
                raise LabError(f"attributes.{shown(f'{name}.{attribute}')} is no width of the model; save it again")
            kind: Any = type(before)
            set_held_value(modules[name], attribute, kind(value))


def _fits_width(value: Any, before: Any) -> bool:
    """Whether both are numbers, or as many numbers, of which none has grown."""
    if isinstance(value, int) != isinstance(before, int):
        return False
    pairs = [item if isinstance(item, (list, tuple)) else [item] for item in (value, before)]
    numbers = all(isinstance(item, int) and not isinstance(item, bool) for pair in pairs for item in pair)
    return numbers and len(pairs[0]) == len(pairs[1]) and all(0 <= v <= b for v, b in zip(*pairs, strict=True))
