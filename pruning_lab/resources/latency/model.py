"""The time of a network at any widths, predicted from its layers' times. Measures nothing; `measuring` makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.latency.curves import Curve, fitted, solved
from pruning_lab.resources.latency.operators import Operators
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
        self._rest = _Rest(times.passes)
        self._scale = np.array([1.0, 1.0, 0.0])
        self.error = self._calibrate(times.of(operators.digest))

    def seconds(self, graph: ChannelGraph, removed: Tensor | None = None) -> float:
        """Of one pass of a network, which may be cut from the one that this was made for.

        Args:
            removed: bool [n_groups]; the time is then that without these groups.
        """
        alive = self.operators.alive(graph)
        if removed is not None:
            alive[self.operators.ids(graph)[removed.numpy()]] = False
        return self.seconds_at(self.operators.lengths(alive))

    def seconds_at(self, lengths: np.ndarray) -> float:
        """The same by the length of every row of `Operators.rows`."""
        return float(self._parts(lengths) @ self._scale) * self.unit

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
            for one, time in zip(self.operators.layers, self.layer_times(lengths), strict=True)
        ]

    def layer_times(self, lengths: np.ndarray) -> list[float]:
        """Times of the layers' operators, not calibrated yet."""
        return [
            float(self.curves[one.shape](lengths[one.reads], lengths[one.gives])) if one.shape in self.curves else 0.0
            for one in self.operators.layers
        ]

    def _parts(self, lengths: np.ndarray) -> np.ndarray:
        """Layers, the rest, and 1: what the calibration weighs."""
        rest = self._rest(self.operators.numbers_of_elements(lengths), self.operators.counts)
        return np.array([sum(self.layer_times(lengths)), rest, 1.0])

    def _calibrate(self, passes: Sequence[Pass]) -> float:
        """Weigh the parts so that they come nearest to whole networks; returns the error that is left."""
        if not passes:
            return float("nan")
        totals = np.array([one.total for one in passes])
        parts = np.array([self._parts(np.array(one.lengths)) for one in passes])
        if len(passes) >= FEW:
            self._scale = solved(parts, totals)
        else:
            self._scale = np.array([*[float(np.median(totals / parts[:, :2].sum(axis=1)))] * 2, 0.0])
        return float(np.median(np.abs(parts @ self._scale / totals - 1)))


FEW = 4
"""From so many networks on a calibration weighs layers, the rest and a constant each for itself."""


class _Rest:
    """The time of all that is no layer: so much for each operator and for each element, by kind."""

    def __init__(self, passes: Sequence[Pass]) -> None:
        self._kinds: dict[str, np.ndarray] = {}
        told = sorted({kind for one in passes for kind in one.rest if kind})
        for kind in told:
            known = [one for one in passes if kind in one.rest]
            features = [[one.counts.get(kind, 0), one.elements.get(kind, 0.0)] for one in known]
            self._kinds[kind] = solved(np.array(features), np.array([one.rest[kind] for one in known]))
        whole = [one for one in passes if "" in one.rest]
        self._all = sorted({kind for one in whole for kind in one.elements})
        self._each = np.zeros(len(self._all) + 1)
        if whole:
            rows = np.array([self._row(one.elements) for one in whole])
            self._each = solved(rows, np.array([one.rest[""] for one in whole]))

    def __call__(self, elements: Mapping[str, float], counts: Mapping[str, int]) -> float:
        known = [np.array([counts.get(kind, 0), elements.get(kind, 0.0)]) @ c for kind, c in self._kinds.items()]
        return float(sum(known) + self._row(elements) @ self._each)

    def _row(self, elements: Mapping[str, float]) -> np.ndarray:
        return np.array([1.0, *(elements.get(kind, 0.0) for kind in self._all)])
