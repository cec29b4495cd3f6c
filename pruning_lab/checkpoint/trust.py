"""Which classes and functions a checkpoint may name as its model's builder; nothing is imported before it is allowed.

A folder from a stranger must not run code: a name is resolved only inside the project's models and allow-listed model
libraries, and only to an `nn.Module` class or a known builder. Anything else needs the caller's explicit trust.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.models.checking import FORBIDDEN
from pruning_lab.models.torchvision import is_registered

Trust = bool | Sequence[str]

LIBRARIES = ("pruning_lab.models", "torchvision.models", "segmentation_models_pytorch", "timm.models", "torch.nn")
"""Packages of which every nn.Module class may be built."""

FUNCTIONS = ("timm.create_model", "segmentation_models_pytorch.create_model")
"""Builders that are functions; torchvision's registered ones and those of the project's own models come on top."""

NO_DOWNLOADS: Mapping[str, Any] = {
    "pretrained": False,
    "weights": None,
    "weights_backbone": None,
    "pretrained_backbone": False,
    "encoder_weights": None,
}
"""Arguments that would fetch weights, and what a checkpoint sets them to: it brings its own."""


def resolve_builder(target: str, trust: Trust = ()) -> Callable[..., nn.Module]:
    """The class or function behind a dotted path.

    Raises:
        LabError: it is not trusted, or does not exist.
    """
    trusted = trust is True or any(_inside(target, package) for package in (trust if trust is not False else ()))
    if not trusted and target not in FUNCTIONS and not any(_inside(target, library) for library in LIBRARIES):
        raise LabError(_refusal(target))
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise LabError(
            f"the checkpoint's builder {target} can't be imported ({error}); install what it needs"
        ) from error
    if not trusted and not _is_builder(target, found):
        raise LabError(_refusal(target))
    return found


def without_downloads(target: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with every request for pretrained weights taken back.

    Raises:
        LabError: an argument that is never accepted from a folder.
    """
    for name in FORBIDDEN:
        if arguments.get(name) is not None:
            raise LabError(f"the checkpoint passes {name} to {target}, which is never accepted from a folder")
    return {name: NO_DOWNLOADS.get(name, value) for name, value in arguments.items()}


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
    return inspect.isfunction(found) and (home.startswith("pruning_lab.models") or is_registered(found))


def _refusal(target: str) -> str:
    return (
        f"the checkpoint wants to build {target}, which is not a model of the project or of an allow-listed library; "
        f"if you trust it, call load(folder, trust=({target.partition('.')[0]!r},)), or set task.trust=true"
    )
