"""Iterative structured filter pruning of segmentation CNNs: a library and a Hydra-configured lab.

The face: `import pruning_lab as pl` gives the names below, and imports what is behind one when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruning_lab.checkpoint import load, save
    from pruning_lab.common.errors import LabError
    from pruning_lab.graph import ChannelGraph
    from pruning_lab.lab import prune
    from pruning_lab.lab.export import export
    from pruning_lab.lab.prediction import predict
    from pruning_lab.resources import measure
    from pruning_lab.surgery import cut, mask

__version__ = "0.1.0"

__all__ = ["ChannelGraph", "LabError", "cut", "export", "load", "mask", "measure", "predict", "prune", "save"]

_HOMES = {
    "ChannelGraph": "graph",
    "LabError": "common.errors",
    "cut": "surgery",
    "export": "lab.export",
    "load": "checkpoint",
    "mask": "surgery",
    "measure": "resources",
    "predict": "lab.prediction",
    "prune": "lab",
    "save": "checkpoint",
}
"""Name -> the module of this package that it lives in."""


def __getattr__(name: str) -> Any:
    """A name of the face, on first use (PEP 562); torch is imported no sooner."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
