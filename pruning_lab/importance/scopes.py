"""Sets of groups that are compared with each other: a layer's, a kind's, or all. Knows the graph and module types."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import submodule
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import over_first

SCOPES = ("layer", "kind", "global")


def scope_of(model: nn.Module, graph: ChannelGraph, scope: str) -> Tensor:
    """The number of each group's scope, int64 [n_groups].

    Args:
        scope: `layer`: groups whose first filter is in the same layer; `kind`: groups whose layers are alike in type,
            kernel size, stride, dilation and being depthwise, as many of each (Fang et al., "Isomorphic pruning for
            vision models", 2024); `global`: all groups.

    Raises:
        LabError: there is no such scope.
    """
    if scope == "global":
        return torch.zeros(len(graph), dtype=torch.int64)
    if scope == "layer":
        return first_layers(graph)
    if scope == "kind":
        return _kinds(model, graph)
    raise LabError(f"importance.scope={scope} is not known; use one of {', '.join(SCOPES)}")


def first_layers(graph: ChannelGraph) -> Tensor:
    """The place in `graph.layers` of the layer of each group's first filter, int64 [n_groups]."""
    ids = torch.cat(list(graph.layers.values()))
    places = torch.repeat_interleave(torch.tensor([len(row) for row in graph.layers.values()]))
    return over_first(ids, places, len(graph))


def _kinds(model: nn.Module, graph: ChannelGraph) -> Tensor:
    names: list[str] = []
    members: list[list[str]] = [[] for _ in range(len(graph))]
    for layer, row in graph.layers.items():
        name = _kind_name(submodule(model, layer))
        for group in row[row >= 0].tolist():
            members[group].append(name)
    for member in members:
        names.append(" + ".join(sorted(member)))
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names], dtype=torch.int64)


def _kind_name(module: nn.Module | None) -> str:
    if not isinstance(module, nn.modules.conv._ConvNd):
        return type(module).__name__
    depthwise = module.groups > 1 and module.groups == module.in_channels
    return f"{type(module).__name__} {module.kernel_size} {module.stride} {module.dilation} {depthwise}"
