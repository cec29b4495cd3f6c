"""A network's operators by the rows of groups on which their sizes depend. Knows tapes; no times.

It is read off the network that a run starts from, and keeps to that network's numbering of groups: `alive` says which
of them a graph that was cut meanwhile still has, by the names of layers and the indices of filters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.build import Reading, read_graph
from pruning_lab.graph.tracing.connections import Connections
from pruning_lab.graph.tracing.flow import Application, applications, parameters_in
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.tape import Step
from pruning_lab.resources.latency.profiles import LayerTime
from pruning_lab.resources.latency.shapes import LAYERS, TRANSPOSED, channel_dim, dilation_of, kind_of, shape_of_layer

CONSTANT = -1
"""The row of a dimension that no cut changes; its length is 1, and the size stands in a coefficient."""

LAYER = "layer"
"""The kind of what layers give out: it may have to be put in another order."""

REORDERED = (LAYER, "cat")
"""Kinds that a runtime with blocks of channels has to put in another order where a block is not full."""

ORDER = 1e-4
"""What a place in the order counts against a channel, where times are told apart by channels."""

OFF_STEP = " off the step"
"""At the end of a kind: only elements whose channels are no multiple of the target's step."""


@dataclass(frozen=True)
class LayerOperator:
    """An operator whose time is a function of the channels that it reads and gives.

    Attributes:
        layer: whose weight it applies.
        shape: see `shapes.shape_of_layer`; with the dilation, as a layer that reads mostly padding is quick.
        told: the shape as runtimes tell it, which say nothing of a dilation.
        reads, gives: indices into `Operators.rows`.
    """

    layer: str
    shape: str
    told: str
    reads: int
    gives: int


@dataclass(frozen=True)
class Elements:
    """`coefficient` x the lengths of `factors` elements go through operators of one kind."""

    kind: str
    coefficient: int
    factors: tuple[int, ...]


class Operators:
    """All operators of a network.

    Attributes:
        layers: operators that apply a layer's weight.
        elements: what goes through all others, by kind.
        counts: kind -> how many operators of it there are.
        rows: int64 arrays of group ids; negative for channels of no group.
        groups: how many groups there are.
    """

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...], graph: ChannelGraph, links: Connections | None):
        """`graph`: of this very model, traced and not cut."""
        found, reading = read_graph(model, inputs, links, split=graph.structure.split)
        self.groups = len(found.prunable)
        self.layers: list[LayerOperator] = []
        self.elements: list[Elements] = []
        self.counts: dict[str, int] = {}
        self._filters = {name: row.numpy() for name, row in found.layers.items()}
        self._group_of_label = reading.group_of_label.numpy()
        self._numbers: dict[bytes, int] = {}
        self.rows: list[np.ndarray] = []
        self._read(reading)

    def alive(self, graph: ChannelGraph) -> np.ndarray:
        """Which groups a graph still has, bool [groups]."""
        alive = np.zeros(self.groups, dtype=bool)
        alive[self.ids(graph)] = True
        return alive

    def ids(self, graph: ChannelGraph) -> np.ndarray:
        """The group, in this numbering, of each of a graph's groups, int64 [n_groups]."""
        ids = np.zeros(len(graph), dtype=np.int64)
        for name, row in graph.layers.items():
            now = row.numpy()
            ids[now[now >= 0]] = self._filters[name][graph.original[name].numpy()][now >= 0]
        return ids

    def lengths(self, alive: np.ndarray) -> np.ndarray:
        """How many channels are left in every row, int64 [rows]."""
        return self._fixed + np.rint(alive.astype(np.float32) @ self.occurrences).astype(np.int64)

    def told(self, times: Sequence[LayerTime], lengths: np.ndarray) -> list[LayerTime]:
        """Times of layers with the channels that the network has there.

        A runtime may tell of channels in full blocks, and in an order of its own: of one shape each time belongs to the
        operator whose channels are nearest, and of those that are as near to the one in the same place of the order.
        """
        from scipy.optimize import linear_sum_assignment  # half a second of a start, see `curves.solved`

        found = []
        for shape in dict.fromkeys(one.shape for one in times):
            seen = [one for one in times if one.shape == shape]
            own = [one for one in self.layers if one.told == shape]
            ends = [(int(lengths[one.reads]), int(lengths[one.gives])) for one in own]
            if own:
                told = np.array([(one.reads, one.gives) for one in seen])
                away = np.abs(told[:, None] - np.array(ends)).sum(axis=2)
                order = np.abs(np.arange(len(seen))[:, None] - np.arange(len(own)))
                for number, place in zip(*linear_sum_assignment(away + ORDER * order), strict=True):
                    reads, gives = ends[place]
                    found.append(LayerTime(own[place].shape, reads, gives, seen[number].time))
        return found

    @cached_property
    def occurrences(self) -> np.ndarray:
        """How often each group occurs in each row, float32 [groups, rows]."""
        counts = [np.bincount(row[row >= 0], minlength=self.groups) for row in self.rows]
        return np.stack(counts, axis=1).astype(np.float32) if counts else np.zeros((self.groups, 0), dtype=np.float32)

    @cached_property
    def _fixed(self) -> np.ndarray:
        """Channels of no group in each row."""
        return np.array([(row < 0).sum() for row in self.rows], dtype=np.int64)

    def numbers_of_elements(self, lengths: np.ndarray, step: int = 1) -> dict[str, float]:
        """Kind -> elements that go through its operators.

        Args:
            step: for some kinds those count once more by themselves whose channels are no multiple of it.
        """
        total: dict[str, float] = dict.fromkeys(self.counts, 0.0)
        if step > 1:
            total |= {kind + OFF_STEP: 0.0 for kind in REORDERED if kind in total}
        for one in self.elements:
            counts = [int(lengths[factor]) for factor in one.factors]
            number = one.coefficient * math.prod(counts)
            total[one.kind] += number
            if one.kind + OFF_STEP in total and any(count % step for count in counts):
                total[one.kind + OFF_STEP] += number
        return total

    @property
    def digest(self) -> str:
        """A name for a network of these operators and widths."""
        whole = self.lengths(np.ones(self.groups, dtype=bool))
        told = [(one.shape, int(whole[one.reads]), int(whole[one.gives])) for one in self.layers]
        return hashlib.sha256(repr((told, sorted(self.numbers_of_elements(whole).items()))).encode()).hexdigest()[:16]

    def _read(self, reading: Reading) -> None:
        tape = reading.tape
        if tape is None:
            return
        constant = parameters_in(tape)
        layers = applications(tape, constant)
        totals: dict[tuple[str, tuple[int, ...]], int] = {}
        for step in tape.steps:
            kind = kind_of(step.target)
            if not kind or step in constant:
                continue
            if step in layers and step.target in LAYERS:
                self.layers.append(self._layer(layers[step], step, reading.values))
                kind = LAYER
            self.counts[kind] = self.counts.get(kind, 0) + 1
            for size, factors in self._sizes(step, reading.values, inputs=kind != LAYER):
                totals[kind, factors] = totals.get((kind, factors), 0) + size
        self.elements = [Elements(kind, size, factors) for (kind, factors), size in totals.items()]

    def _layer(self, applied: Application, step: Step, values: Mapping[Step, Any]) -> LayerOperator:
        weight = applied.weight.shapes
        told = shape_of_layer(applied.activation.shapes, weight, step.shapes, step.target in TRANSPOSED)
        shape = told + dilation_of(step.target, step.args, step.kwargs)
        dim = channel_dim(weight)
        ends = [self._row(values.get(one), one.shapes, dim) for one in (applied.activation, step)]
        return LayerOperator(applied.layer, shape, told, *ends)

    def _row(self, value: Any, shape: tuple[int, ...], dim: int) -> int:
        """The number of the row along a dimension."""
        labels = value.axes.get(dim % len(shape)) if isinstance(value, Labelled) else None
        if labels is None:
            return self._number(np.full(shape[dim], CONSTANT))
        return self._number(self._group_of_label[labels.numpy()])

    def _number(self, row: np.ndarray) -> int:
        key = row.astype(np.int64).tobytes()
        if key not in self._numbers:
            self._numbers[key] = len(self.rows)
            self.rows.append(row.astype(np.int64))
        return self._numbers[key]

    def _sizes(self, step: Step, values: Mapping[Step, Any], inputs: bool) -> Iterator[tuple[int, tuple[int, ...]]]:
        """(elements for one entry of each row, rows) of each tensor that an operator gives, and reads."""
        for one in (step, *step.sources) if inputs else (step,):
            found = values.get(one)
            for place, fact in enumerate(one.facts()):
                value = found[place] if isinstance(found, (list, tuple)) and place < len(found) else found
                if isinstance(value, Labelled) and value.shape == fact.shape:
                    factors = tuple(sorted(self._row(value, value.shape, dim) for dim in value.axes))
                    rows = math.prod(len(self.rows[factor]) for factor in factors)
                    yield math.prod(fact.shape) // max(rows, 1), factors
                else:
                    yield math.prod(fact.shape), ()


def as_removed(alive: np.ndarray, ids: np.ndarray) -> Tensor:
    """Which of a graph's groups are not alive, bool [n_groups]; `ids` as of `Operators.ids`."""
    return torch.from_numpy(~alive[ids])
