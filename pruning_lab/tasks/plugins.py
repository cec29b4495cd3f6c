"""Lets Hydra find sweepers of this project, without a package beside it. Knows Hydra's plugins, and no sweeper."""

from __future__ import annotations

import importlib
import sys
import types

from hydra.core.plugins import Plugins
from hydra.plugins.plugin import Plugin

PARENT, OWN = "hydra_plugins", "pruning_lab"
PLUGINS = f"{PARENT}.{OWN}"
"""Hydra takes plugins of the package `hydra_plugins` alone, so there is a module of that name in memory."""


def register(kind: type[Plugin]) -> None:
    """Make a class known to Hydra as `hydra_plugins.pruning_lab.NAME`."""
    known = Plugins.instance()  # looks for installed plugins, before there is a module of that name
    parent = _parent()
    module = sys.modules.setdefault(PLUGINS, types.ModuleType(PLUGINS))
    setattr(parent, OWN, module)
    setattr(module, kind.__name__, kind)
    kind.__module__ = PLUGINS
    known.register(kind)


def _parent() -> types.ModuleType:
    try:
        return importlib.import_module(PARENT)
    except ModuleNotFoundError:
        return sys.modules.setdefault(PARENT, types.ModuleType(PARENT))
