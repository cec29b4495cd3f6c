"""Sets that are compared with each other, a layer's, a kind's or all, and ranks in them. Knows graphs and modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import submodule
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import FilterScores, in_a_row, over_first

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


def ranks_in_layers(graph: ChannelGraph, scores: FilterScores) -> FilterScores:
    """Filters' places in their layers' orders, in (0, 1], in place of their scores: all layers give alike then.

    Places are those of the layer as it was traced, and what has left it had the first ones. So a layer from which
    rounding or a floor has held filters back in earlier steps is the first to give.
    """
    sizes = [len(row) for row in scores.values()]
    layer = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes, dtype=torch.int64))
    places = ranks(in_a_row(list(scores.values())), layer).split(sizes)
    found = {}
    for name, place in zip(scores, places, strict=True):
        left = len(place) / max(len(graph.structure.layers[name]), 1)
        found[name] = 1 - left + left * place
    return found


def ranks(values: Tensor, scope: Tensor) -> Tensor:
    """Each value's place in its scope's order over the scope's size, in (0, 1]; equal values share their mean place.

    Args:
        values: float [n].
        scope: int64 [n], the number of each entry's scope.
    """
    order = values.argsort(stable=True)
    order = order[scope[order].argsort(stable=True)]
    sorted_values, sorted_scope = values[order], scope[order]
    size = torch.bincount(scope)
    place = torch.arange(len(values)) - (size.cumsum(0) - size)[sorted_scope] + 1.0
    differs = (sorted_values.diff() != 0) | (sorted_scope.diff() != 0)
    tie = torch.cat([torch.zeros(1, dtype=torch.int64), differs.long().cumsum(0)])
    shared = torch.zeros_like(place).scatter_reduce(0, tie, place, "mean", include_self=False)[tie]
    return torch.empty_like(values).index_copy(0, order, (shared / size[sorted_scope]).to(values.dtype))


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
