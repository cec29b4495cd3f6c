"""The time of a network at any widths, predicted from its layers' times. Measures nothing; `measuring` makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.latency.curves import Curve, fitted, solved
from pruning_lab.resources.latency.operators import OFF_STEP, Operators
from pruning_lab.resources.latency.store import Pass, Times
from pruning_lab.resources.latency.target import Target


@dataclass(frozen=True)
class LayerPrediction:
    """One layer's part of a network's time, seconds, and the channels that it reads and gives."""

    layer: str
    shape: str
    reads: int
    gives: int
    seconds: float


class LatencyModel:
    """Predicts.

    Attributes:
        operators: of the network that a run starts from.
        target: where it is to run.
        step: the multiple of channels at which time jumps there.
        unit: seconds of the reference.
        error: median relative error on the networks that it was calibrated with.
    """

    def __init__(self, operators: Operators, target: Target, times: Times) -> None:
        self.operators, self.target = operators, target
        self.step, self.unit = times.step or 1, times.unit or 1.0
        self.curves: dict[str, Curve] = {
            shape: fitted(times.layers[shape], self.step)
            for shape in {one.shape for one in operators.layers}
            if shape in times.layers
        }
        layers = operators.layers
        self._known = [place for place, one in enumerate(layers) if one.shape in self.curves]
        if self._known:
            self._curves = Curve.stacked([self.curves[layers[place].shape] for place in self._known])
        self._ends = [[layers[place].reads for place in self._known], [layers[place].gives for place in self._known]]
        self._rest = _Rest(times.passes, operators, self.step)
        self._scale = np.array([1.0, 1.0, 0.0])
        self.error = self._calibrate(times.of(operators.digest))

    def seconds(self, graph: ChannelGraph, removed: Tensor | None = None) -> float:
        """Of one pass of a network, which may be cut from the one that this was made for.

        Args:
            removed: bool [n_groups]; the time is then that without these groups.
        """
        return self.of(graph).seconds(removed)

    def of(self, graph: ChannelGraph) -> GraphLatency:
        """The latency of one network, with and without groups of its graph."""
        return GraphLatency(self, graph)

    def seconds_at(self, lengths: np.ndarray) -> float:
        """The same by the length of every row of `Operators.rows`, int64 [rows]."""
        return float(self.seconds_of(lengths[None])[0])

    def seconds_of(self, lengths: np.ndarray) -> np.ndarray:
        """The same for several networks at once, int64 [k, rows] -> float64 [k]."""
        return self._parts(lengths) @ self._scale * self.unit

    @cached_property
    def whole(self) -> float:
        """Seconds of the network that this was made for."""
        return self.seconds_at(self.operators.lengths(np.ones(self.operators.groups, dtype=bool)))

    def layers(self, graph: ChannelGraph) -> list[LayerPrediction]:
        """What each layer takes, in the order in which they run."""
        lengths = self.operators.lengths(self.operators.alive(graph))
        return [
            LayerPrediction(
                one.layer,
                one.shape,
                int(lengths[one.reads]),
                int(lengths[one.gives]),
                time * self._scale[0] * self.unit,
            )
            for one, time in zip(self.operators.layers, self._layer_times(lengths[None])[0].tolist(), strict=True)
        ]

    def _layer_times(self, lengths: np.ndarray) -> np.ndarray:
        """Times of the layers' operators, not calibrated yet, float64 [k, layers]."""
        found = np.zeros((len(lengths), len(self.operators.layers)))
        if self._known:
            reads, gives = (lengths[:, rows] for rows in self._ends)
            found[:, self._known] = self._curves(reads, gives)
        return found

    def _parts(self, lengths: np.ndarray) -> np.ndarray:
        """Layers, the rest, and 1: what the calibration weighs, float64 [k, 3]."""
        layers = self._layer_times(lengths).sum(axis=1)
        return np.stack([layers, self._rest(lengths), np.ones(len(lengths))], axis=1)

    def _calibrate(self, passes: Sequence[Pass]) -> float:
        """Weigh the parts so that they come nearest to whole networks; returns the error that is left."""
        if not passes:
            return float("nan")
        totals = np.array([one.total for one in passes])
        parts = self._parts(np.array([one.lengths for one in passes]))
        if len(passes) >= FEW:
            self._scale = solved(parts, totals)
        else:
            self._scale = np.array([*[float(np.median(totals / parts[:, :2].sum(axis=1)))] * 2, 0.0])
        return float(np.median(np.abs(parts @ self._scale / totals - 1)))


class GraphLatency:
    """The latency of one network and of what is cut from it. What depends on its graph alone is looked up once.

    Attributes:
        lengths: of every row of `Operators.rows`, int64 [rows].
        counts: how much less each of the graph's groups is of these, float32 [n_groups, rows].
    """

    def __init__(self, model: LatencyModel, graph: ChannelGraph) -> None:
        operators = model.operators
        self._model = model
        self.lengths = operators.lengths(operators.alive(graph))
        self.counts = operators.occurrences[operators.ids(graph)]

    @cached_property
    def whole(self) -> float:
        """Seconds of the network as it is."""
        return self._model.seconds_at(self.lengths)

    def seconds(self, removed: Tensor | None = None) -> float:
        """Without these groups, bool [n_groups]."""
        if removed is None:
            return self.whole
        gone = removed.numpy().astype(np.float32) @ self.counts
        return self._model.seconds_at(self.lengths - np.rint(gone).astype(np.int64))


FEW = 4
"""From so many networks on a calibration weighs layers, the rest and a constant each for itself."""


@dataclass(frozen=True)
class _Products:
    """Elements that go through operators: the lengths of `rows`, [products, factors], multiplied, and what each costs.

    Attributes:
        always: for each element; `off_step`: besides, where a length is no multiple of the step; [products] each.
    """

    rows: np.ndarray
    always: np.ndarray
    off_step: np.ndarray


class _Rest:
    """The time of all that is no layer: so much for each operator and for each element, by kind."""

    def __init__(self, passes: Sequence[Pass], operators: Operators, step: int) -> None:
        self._step = step
        self._constant = 0.0
        each: dict[str, float] = {}
        for kind in sorted({kind for one in passes for kind in one.rest if kind}):
            known = [one for one in passes if kind in one.rest]
            features = np.array([[one.counts.get(kind, 0), one.elements.get(kind, 0.0)] for one in known])
            for_one, for_element = solved(features, np.array([one.rest[kind] for one in known]))
            self._constant += for_one * operators.counts.get(kind, 0)
            each[kind] = each.get(kind, 0.0) + for_element
        whole = [one for one in passes if "" in one.rest]  # the runtime does not tell which operators these were
        if whole:
            kinds = sorted({kind for one in whole for kind in one.elements})
            features = np.array([[1.0, *(one.elements.get(kind, 0.0) for kind in kinds)] for one in whole])
            constant, *for_elements = solved(features, np.array([one.rest[""] for one in whole]))
            self._constant += constant
            for kind, for_element in zip(kinds, for_elements, strict=True):
                each[kind] = each.get(kind, 0.0) + for_element
        self._products: dict[int, _Products] = {}
        for count in {len(one.factors) for one in operators.elements}:
            alike = [one for one in operators.elements if len(one.factors) == count]
            costs = [
                [one.coefficient * each.get(kind, 0.0) for kind in (one.kind, one.kind + OFF_STEP)] for one in alike
            ]
            rows = np.array([one.factors for one in alike], dtype=np.int64).reshape(len(alike), count)
            self._products[count] = _Products(rows, *np.array(costs).T)

    def __call__(self, lengths: np.ndarray) -> np.ndarray:
        """Times, float64 [k], by the lengths of all rows, [k, rows]."""
        total = np.full(len(lengths), self._constant)
        for one in self._products.values():
            channels = lengths[:, one.rows]
            costs = one.always + one.off_step * (channels % self._step != 0).any(axis=2)
            total += (costs * channels.prod(axis=2)).sum(axis=1)
        return total
