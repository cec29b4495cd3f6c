"""What a model costs, per layer, in closed form from its channel graph: nothing is run.

Knows the graph's arrays only. MACs are those of convolutions, transposed convolutions, linear layers and matrix
products, as `torch.utils.flop_counter` counts them, for the input that the graph was traced with; FLOPs = 2 x MACs.
Memory is what the values of one forward pass take where they take most, as `graph.memory` defines it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pruning_lab.common.modules import layer_name
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.structure.id_rows import Remaining
from pruning_lab.resources.table import COUNTED, TABLE

FLOPS_PER_MAC = 2
"""A multiplication and an addition."""


@dataclass(frozen=True)
class LayerResources:
    """One layer's share: multiply-accumulates, FLOPs, own parameters (weight and bias), and its filters."""

    macs: int
    flops: int
    weights: int
    filters: int


@dataclass(frozen=True)
class Resources:
    """A whole model.

    Attributes:
        weights: number of all its parameters.
        bytes: of its parameters and buffers.
        layers: layer name -> its share.
        memory: peak of activation memory for the traced input, bytes; None where the graph does not tell.
    """

    macs: int
    flops: int
    weights: int
    bytes: int
    layers: dict[str, LayerResources]
    memory: int | None = None

    def counted(self, resource: str) -> int | None:
        """How much it has of a counted resource; None where the graph does not tell."""
        return getattr(self, resource)

    def fractions_of(self, original: Resources) -> dict[str, float]:
        """Every counted resource that is known of both, as a fraction of another model's."""
        pairs = ((name, self.counted(name), original.counted(name)) for name in COUNTED)
        return {
            name: mine / whole if whole else 1.0
            for name, mine, whole in pairs
            if mine is not None and whole is not None
        }


@dataclass(frozen=True)
class Savings:
    """What the removal of each group alone would save: int64 [n_groups] each."""

    macs: Tensor
    weights: Tensor

    @property
    def flops(self) -> Tensor:
        return FLOPS_PER_MAC * self.macs


@dataclass(frozen=True)
class Term:
    """`coefficient` x the lengths of `factors`: an operator's FLOPs, or a parameter's elements.

    Attributes:
        kind: the resource that it is a part of, `flops` or `weights`.
        layer: whose it is; empty where it belongs to no layer.
    """

    kind: str
    layer: str
    coefficient: int
    factors: tuple[Tensor, ...]


def terms(graph: ChannelGraph) -> Iterator[Term]:
    """Everything that FLOPs and weights are made of."""
    for cost in graph.costs:
        yield Term("flops", cost.layer, FLOPS_PER_MAC * cost.coefficient, cost.factors)
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
    length = len if removed is None else graph.remaining(removed).length
    flops: dict[str, int] = defaultdict(int)
    weights: dict[str, int] = defaultdict(int)
    totals = {"flops": flops, "weights": weights}
    for term in terms(graph):
        totals[term.kind][term.layer] += term.coefficient * math.prod(map(length, term.factors))
    layers = {
        name: LayerResources(flops[name] // FLOPS_PER_MAC, flops[name], weights[name], filters=length(row))
        for name, row in graph.layers.items()
    }
    all_flops, all_weights = sum(flops.values()), sum(weights.values())
    memory = None if graph.memory is None else graph.memory.peak_bytes(length)
    return Resources(all_flops // FLOPS_PER_MAC, all_flops, all_weights, _bytes(graph, length), layers, memory)


def savings(graph: ChannelGraph) -> Savings:
    """What each group alone would save, for all groups at once."""
    saved = {kind: np.zeros(len(graph), dtype=np.int64) for kind in ("flops", "weights")}
    for term in terms(graph):
        for groups, amounts in _saved_by_group(term.coefficient, term.factors):
            saved[term.kind][groups] += amounts
    return Savings(torch.from_numpy(saved["flops"]) // FLOPS_PER_MAC, torch.from_numpy(saved["weights"]))


def savings_of(graph: ChannelGraph, resource: str) -> Tensor:
    """What each group alone would save of one of the `RANKED` resources, int64 [n_groups]."""
    if TABLE[resource].peak:
        return memory_savings(graph)
    return getattr(savings(graph), resource)


NEARLY_FULL = 0.9
"""The share of the peak of memory from which on a moment of a forward pass matters: the next peak may lie there."""


def memory_savings(graph: ChannelGraph, removed: Tensor | None = None) -> Tensor:
    """The most bytes that each group takes at any of the nearly full moments of a forward pass, int64 [n_groups].

    Zero for a group whose removal makes room only where there is room, and where the graph does not tell.

    Args:
        removed: bool [n_groups]; the savings are then those that are left when these groups have left.
    """
    most = np.zeros(len(graph), dtype=np.int64)
    if graph.memory is None:
        return torch.from_numpy(most)
    gone = torch.zeros(len(graph), dtype=torch.bool) if removed is None else removed
    left = Remaining(gone, graph.memory.rows)
    for values in graph.memory.full_moments(NEARLY_FULL, left.length):
        saved = np.zeros(len(graph), dtype=np.int64)
        for bytes_each, rows in values:
            for groups, amounts in _saved_by_group(bytes_each, tuple(row[left.stays[row]] for row in rows)):
                saved[groups] += amounts
        np.maximum(most, saved, out=most)
    return torch.from_numpy(most)


def _saved_by_group(coefficient: int, factors: tuple[Tensor, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The groups [k] in a product of lengths, and how much it shrinks without each of them [k]. One item or none."""
    lengths = [len(row) for row in factors]
    for groups, counts in group_counts(factors):
        yield groups, coefficient * (math.prod(lengths) - np.prod(np.array(lengths) - counts, axis=1))


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


def _bytes(graph: ChannelGraph, length: Callable[[Tensor], int]) -> int:
    total = 0
    for info in graph.tensors.values():
        sizes = [length(info.axes[dim]) if dim in info.axes else size for dim, size in enumerate(info.shape)]
        total += info.itemsize * math.prod(sizes)
    return total
