"""Which classes and functions a checkpoint may name as its model's builder, and with what arguments.

A folder from a stranger must not run code: a name is resolved only inside the project's models and allow-listed model
libraries, and only to an `nn.Module` class or a known builder; nothing is imported before it is allowed. Its arguments
must not make these fetch or read anything. Anything else needs the caller's explicit trust.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.models.checking import FORBIDDEN
from pruning_lab.models.torchvision import is_registered

Trust = bool | Sequence[str]

LIBRARIES = ("pruning_lab.models", "torchvision.models", "segmentation_models_pytorch", "timm.models", "torch.nn")
"""Packages of which every nn.Module class may be built."""

FUNCTIONS = ("timm.create_model", "segmentation_models_pytorch.create_model")
"""Builders that are functions; torchvision's registered ones come on top."""

IMPORTED_LATE = {"pruning_lab.models.Timm": ("timm",), "pruning_lab.models.SMP": ("segmentation_models_pytorch",)}
"""What the project's own models import when they are built; it is imported before: that takes time and reads files."""

NO_DOWNLOADS: Mapping[str, Any] = {
    "pretrained": False,
    "weights": None,
    "weights_backbone": None,
    "pretrained_backbone": False,
    "encoder_weights": None,
}
"""Arguments that would fetch weights, and what a checkpoint sets them to: it brings its own."""

NEVER = (*FORBIDDEN, "cache_dir", "pretrained_model_args")
"""Arguments that are never accepted from a folder: a library would look at a place of the folder's choosing."""

LARGEST_NUMBER = 2**20
"""No width, depth or number of classes is above it; a list of that length does no harm."""

DEEPEST = 32
"""Nested lists and mappings of arguments."""


def resolve_builder(target: str, trust: Trust = ()) -> Callable[..., nn.Module]:
    """The class or function behind a dotted path.

    Raises:
        LabError: it is not trusted, or does not exist.
    """
    trusted = is_trusted(target, trust)
    if not trusted and target not in FUNCTIONS and not any(_inside(target, library) for library in LIBRARIES):
        raise LabError(_refusal(target))
    try:
        found = _found(target)
        for library in IMPORTED_LATE.get(target, ()):
            importlib.import_module(library)
    except Exception as error:  # importing a module runs it, and it may say anything
        home, local = target.partition(".")[0], "<locals>" in target
        mend = "install what it needs"
        if local or home == "__main__":
            mend = "define it in a module of its own, not in a function, a script or a notebook"
        raise LabError(f"the builder {shown(target)} can't be imported ({first_line(error)}); {mend}") from error
    if not trusted and not _is_builder(target, found):
        raise LabError(_refusal(target))
    return found


def is_trusted(target: str, trust: Trust) -> bool:
    """Whether the caller vouches for a builder, be it allow-listed or not."""
    return trust is True or any(_inside(target, package) for package in (trust if trust is not False else ()))


def safe_arguments(
    target: str, found: Callable[..., nn.Module], arguments: Mapping[str, Any], trust: Trust = ()
) -> dict[str, Any]:
    """Arguments with every request for pretrained weights taken back, also one that is a default.

    Raises:
        LabError: a number is out of all proportion, or an argument could reach the network or the disk.
    """
    _check("builder.arguments", arguments, places_allowed=is_trusted(target, trust))
    for name in NEVER:
        if not is_trusted(target, trust) and arguments.get(name) is not None:
            raise LabError(f"the checkpoint passes {name} to {target}, which is never accepted from a folder")
    safe = {name: _without_downloads(name, value) for name, value in arguments.items()}
    if any(_inside(target, library) for library in LIBRARIES) or target in FUNCTIONS:
        defaults = {name: parameter.default for name, parameter in inspect.signature(found).parameters.items()}
        safe |= {name: NO_DOWNLOADS[name] for name in defaults if name in NO_DOWNLOADS and name not in safe}
    return safe


def shown(value: Any, longest: int = 80) -> str:
    """A folder's value for a message: in one line of printable characters, cut where it is long."""
    text = value if isinstance(value, str) and value.isprintable() and value.isascii() else ascii(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _without_downloads(name: str, value: Any) -> Any:
    if name in NO_DOWNLOADS and isinstance(value, (str, bool)):
        return NO_DOWNLOADS[name]
    if isinstance(value, Mapping):
        return {key: _without_downloads(key, item) for key, item in value.items()}
    return value


def _check(where: str, value: Any, places_allowed: bool, depth: int = 0) -> None:
    if depth > DEEPEST:
        raise LabError(f"{shown(where)} is nested more than {DEEPEST} deep, as no network's arguments are")
    if isinstance(value, (int, float)) and not abs(value) <= LARGEST_NUMBER:
        raise LabError(f"{shown(where)}={shown(str(value))} does not fit a network; the most is {LARGEST_NUMBER:,}")
    if isinstance(value, str) and not places_allowed and _is_place(value):
        raise LabError(f"{shown(where)}={shown(value)} is an address or a path, which is never accepted from a folder")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in NEVER and depth and not places_allowed and item is not None:
                raise LabError(f"{shown(f'{where}.{key}')} is never accepted from a folder")
            _check(f"{where}.{key}", item, places_allowed, depth + 1)
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            _check(f"{where}[{place}]", item, places_allowed, depth + 1)


def _is_place(text: str) -> bool:
    """Whether a library could take it for an address (`hf-hub:name`), or for a path."""
    return any(mark in text for mark in ":/\\~\0") or text.startswith(".")


def _found(target: str) -> Any:
    """The object behind a dotted path; a class may stand inside another."""
    module_name, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        outer = error.name == module_name and "." in module_name and module_name.rpartition(".")[2][:1].isupper()
        if not outer:
            raise
        return getattr(_found(module_name), name)


def _inside(target: str, package: str) -> bool:
    return target.startswith(package + ".")


def _is_builder(target: str, found: Any) -> bool:
    """An nn.Module class that is defined in an allowed library, or a function known to build one."""
    if target in FUNCTIONS:
        return True
    home = getattr(found, "__module__", "") or ""
    if not any(f"{home}.".startswith(library + ".") for library in LIBRARIES):
        return False
    if inspect.isclass(found):
        return issubclass(found, nn.Module)
    return inspect.isfunction(found) and is_registered(found)


def _refusal(target: str) -> str:
    package = shown(target.partition(".")[0])
    return (
        f"the checkpoint wants to build {shown(target)}, which is not a model of the project or of an allow-listed "
        f"library; if you know where the folder comes from and trust {package}'s code, call "
        f"load(folder, trust=({package!r},)), or set task.trust=true"
    )
