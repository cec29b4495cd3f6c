"""What a model costs, per layer, in closed form from its channel graph: nothing is run.

Knows the graph's arrays only. MACs are those of convolutions, transposed convolutions, linear layers and matrix
products, as `torch.utils.flop_counter` counts them, for the input that the graph was traced with; FLOPs = 2 x MACs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.interpreter import layer_name


@dataclass(frozen=True)
class LayerResources:
    """One layer's share: multiply-accumulates, FLOPs, own parameters (weight and bias), and its filters."""

    macs: int
    flops: int
    weights: int
    filters: int


@dataclass(frozen=True)
class Resources:
    """A whole model: MACs, FLOPs, number of all its parameters, bytes of parameters and buffers, and each layer."""

    macs: int
    flops: int
    weights: int
    bytes: int
    layers: dict[str, LayerResources]

    def fractions_of(self, original: Resources) -> dict[str, float]:
        """`flops` and `weights` as fractions of another model's."""
        return {
            "flops": self.flops / original.flops if original.flops else 1.0,
            "weights": self.weights / original.weights if original.weights else 1.0,
        }


@dataclass(frozen=True)
class Savings:
    """What the removal of each group alone would save: int64 [n_groups] each."""

    macs: Tensor
    weights: Tensor

    @property
    def flops(self) -> Tensor:
        return 2 * self.macs


@dataclass(frozen=True)
class Term:
    """`coefficient` x the lengths of `factors`: an operator's MACs, or a parameter's elements."""

    kind: str
    layer: str
    coefficient: int
    factors: tuple[Tensor, ...]


def terms(graph: ChannelGraph) -> Iterator[Term]:
    """Everything that MACs (kind `macs`) and parameters (kind `weights`) are made of."""
    for cost in graph.costs:
        yield Term("macs", cost.layer, cost.coefficient, cost.factors)
    for name, info in graph.tensors.items():
        if info.trainable:
            fixed = math.prod(size for dim, size in enumerate(info.shape) if dim not in info.axes)
            yield Term("weights", owner(graph, name), fixed, tuple(info.axes.values()))


def owner(graph: ChannelGraph, parameter: str) -> str:
    """The layer that a parameter belongs to, empty for parameters of anything else (a batch norm's)."""
    name = layer_name(parameter)
    if name in graph.layers:
        return name
    module = parameter.rpartition(".")[0]
    return module if module in graph.layers else ""


def measure(graph: ChannelGraph, removed: Tensor | None = None) -> Resources:
    """Count a model's resources.

    Args:
        removed: bool [n_groups]; the counts are then those of the model after these groups have left.
    """
    stays = _stays(graph, removed)
    totals: dict[str, dict[str, int]] = {"macs": defaultdict(int), "weights": defaultdict(int)}
    for term in terms(graph):
        size = term.coefficient * math.prod(int(stays[row].sum()) for row in term.factors)
        totals[term.kind][term.layer] += size
    layers = {
        name: LayerResources(
            macs=totals["macs"][name],
            flops=2 * totals["macs"][name],
            weights=totals["weights"][name],
            filters=int(stays[row].sum()),
        )
        for name, row in graph.layers.items()
    }
    macs, weights = sum(totals["macs"].values()), sum(totals["weights"].values())
    return Resources(macs, 2 * macs, weights, _bytes(graph, stays), layers)


def savings(graph: ChannelGraph) -> Savings:
    """What each group alone would save, for all groups at once."""
    saved = {"macs": np.zeros(len(graph), dtype=np.int64), "weights": np.zeros(len(graph), dtype=np.int64)}
    for term in terms(graph):
        lengths = [len(row) for row in term.factors]
        whole = term.coefficient * math.prod(lengths)
        for groups, counts in group_counts(term.factors):
            rest = term.coefficient * np.prod(np.array(lengths) - counts, axis=1)
            saved[term.kind][groups] += whole - rest
    return Savings(torch.from_numpy(saved["macs"]), torch.from_numpy(saved["weights"]))


def group_counts(factors: tuple[Tensor, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The groups [k] that occur in any of the factors, and how often in each: [k, len(factors)]. One item or none."""
    if not factors:
        return
    ids = np.concatenate([row.numpy() for row in factors])
    which = np.repeat(np.arange(len(factors)), [len(row) for row in factors])
    present = ids >= 0
    groups, place = np.unique(ids[present], return_inverse=True)
    if len(groups):
        counts = np.zeros((len(groups), len(factors)), dtype=np.int64)
        np.add.at(counts, (place, which[present]), 1)
        yield groups, counts


def _stays(graph: ChannelGraph, removed: Tensor | None) -> Tensor:
    """bool [n_groups + 1]; the last entry answers for channels of no group (id -1)."""
    kept = torch.ones(len(graph), dtype=torch.bool) if removed is None else ~removed
    return torch.cat([kept, torch.ones(1, dtype=torch.bool)])


def _bytes(graph: ChannelGraph, stays: Tensor) -> int:
    total = 0
    for info in graph.tensors.values():
        sizes = [int(stays[info.axes[d]].sum()) if d in info.axes else size for d, size in enumerate(info.shape)]
        total += info.itemsize * math.prod(sizes)
    return total
