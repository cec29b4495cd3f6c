"""The fraction of a layer that must stay. Knows modules' names and types, and what a removal leaves of a layer.

A layer's floor is its own entry (its exact name, else the first pattern that fits), else the default for its module's
type or for the nearest class that this one inherits from, else 1: it is not cut.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import submodule
from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.counting import Resources
from pruning_lab.resources.running_totals import Place, Removal
from pruning_lab.resources.table import BY_LAYER

KINDS = ("filters", *BY_LAYER)
"""What a floor can be on."""

Entry = float | Mapping[str, float]


@dataclass(frozen=True)
class LayerFloors:
    """Resolved floors: (kind, layer) -> the count that must stay."""

    least: Mapping[Place, float]

    def binding(self, removal: Removal) -> str | None:
        """The layer whose floor forbids a removal, None if none does."""
        for place, lost in removal.lost.items():
            if lost and removal.left[place] < self.least.get(place, 0):
                return place[1]
        return None


class Floors:
    """Floors by module first, then by type, else the layer is not cut.

    Args:
        by_module: layer name or pattern (`up*`, `encoder.*.conv1`) -> fraction of filters that must stay, or a
            mapping of `filters`, `flops`, `weights` to fractions of what the layer had in the original.
        by_type: module type (`Conv2d`) -> the same, also for the classes that inherit from it.
    """

    def __init__(
        self, by_module: Mapping[str, Entry] | None = None, by_type: Mapping[str, Entry] | None = None
    ) -> None:
        self.by_module = {key: _entry(f"floors.by_module.{key}", item) for key, item in (by_module or {}).items()}
        self.by_type = {key: _entry(f"floors.by_type.{key}", item) for key, item in (by_type or {}).items()}

    def resolve(self, model: nn.Module, graph: ChannelGraph, original: Resources) -> LayerFloors:
        """The floors of every layer, as counts of the original.

        Raises:
            LabError: an entry in `by_module` fits no layer.
        """
        self._check_names(list(graph.layers))
        least: dict[Place, float] = {}
        for layer in graph.layers:
            for kind, fraction in self.lookup(layer, *_types_of(model, layer)).items():
                whole = graph.original_widths[layer] if kind == "filters" else getattr(original.layers[layer], kind)
                least[kind, layer] = fraction * whole
            least["filters", layer] = max(1, least.get(("filters", layer), 0))
        return LayerFloors(least)

    def lookup(self, layer: str, *types: str) -> Mapping[str, float]:
        """The entry that holds for a layer; `types` names its module's class, then those that it inherits from."""
        if layer in self.by_module:
            return self.by_module[layer]
        for pattern, entry in self.by_module.items():
            if fnmatch.fnmatchcase(layer, pattern):
                return entry
        return next((self.by_type[name] for name in types if name in self.by_type), {"filters": 1.0})

    def _check_names(self, layers: list[str]) -> None:
        for pattern in self.by_module:
            if not any(fnmatch.fnmatchcase(layer, pattern) for layer in layers):
                near = difflib.get_close_matches(pattern, layers, n=1)
                hint = f"did you mean {near[0]}?" if near else f"layers are called like {layers[0]}"
                raise LabError(f"floors.by_module.{pattern} fits no layer of the model; {hint}")


def _entry(key: str, item: Entry) -> dict[str, float]:
    entry = dict(item) if isinstance(item, Mapping) else {"filters": item}
    for kind, fraction in entry.items():
        if kind not in KINDS:
            raise LabError(f"{key}.{kind} is not known; a floor is on one of {', '.join(KINDS)}")
        if not isinstance(fraction, (int, float)) or not 0 <= fraction <= 1:
            raise LabError(f"{key}={fraction} must be a fraction in [0, 1]; for 20 % write 0.2")
    return {kind: float(fraction) for kind, fraction in entry.items()}


def _types_of(model: nn.Module, layer: str) -> list[str]:
    """The names of a layer's class and of those that it inherits from, the nearest first."""
    module = submodule(model, layer)
    if module is None:
        return ["Parameter"]
    return [kind.__name__ for kind in type(module).__mro__ if issubclass(kind, nn.Module)]
