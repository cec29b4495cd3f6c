"""Makes a model of latency: times what is not known yet, writes it down, and fits. The one that takes long."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.tracing.connections import Connections
from pruning_lab.resources.latency.clock import Clock
from pruning_lab.resources.latency.curves import step_of
from pruning_lab.resources.latency.drawing import drawn
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.resources.latency.operators import Operators
from pruning_lab.resources.latency.runtimes import OnnxTemplate, Ready, prepare
from pruning_lab.resources.latency.store import Pass, Store, Times
from pruning_lab.resources.latency.target import Target

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Args:
        samples: times that are wanted of a layer's shape, at widths drawn at random.
        networks: networks at least, where a shape is new.
        calibrating: networks at least, where all shapes are known.
        seconds: after so long no more than `networks` are timed; of the clock's, which others' work does not count in.
    """

    samples: int = 40
    networks: int = 10
    calibrating: int = 5
    seconds: float = 40.0


def latency_model(
    model: nn.Module,
    graph: ChannelGraph,
    target: Target,
    channels: int,
    connections: Connections | None = None,
    effort: Effort | None = None,
    tell: Tell = lambda text: None,
) -> LatencyModel:
    """The latency of a network and of all that can be cut from it. Neither model nor graph is changed.

    Args:
        model: where it lies is of no matter.
        graph: of the model, traced and not cut.
        target: filled.
        channels: of an image.
        connections: as for `ChannelGraph.trace`.
        tell: is told what is measured, and how long that took.

    Raises:
        LabError: the target's runtime does not take the network.
    """
    bench = _Bench(model, graph, target, channels, connections, effort or Effort())
    started = time.perf_counter()
    with target.threads_set():
        times, networks = bench.complete()
    made = LatencyModel(bench.operators, target, times)
    if networks:
        seconds = time.perf_counter() - started
        tell(f"latency: {networks} networks timed in {seconds:.0f} s on {target.told}; error {100 * made.error:.1f} %")
    return made


class _Bench:
    """One network on one target, with what is known of it."""

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        target: Target,
        channels: int,
        links: Connections | None,
        effort: Effort,
    ) -> None:
        self._model, self._graph, self._target, self._effort = model, graph, target, effort
        self._example = target.example(channels)
        device = next(model.parameters()).device
        self.operators = Operators(model, (self._example.to(device),), graph, links)
        self._whole = self.operators.lengths(np.ones(self.operators.groups, dtype=bool))
        self._links, self._channels = links, channels

    def complete(self) -> tuple[Times, int]:
        """Time what is missing; returns all that is known, and how many networks were timed."""
        target = self._target
        if target.runtime in UNSEEN:
            return self._completed_by_another()
        store = Store(target.cache, target.key, target.about)
        known = store.read()
        if self._lacks(known, 0, 0.0):
            new = self._measured(known)
            return store.add(new) if store.path else _joined(known, new), len(new.passes)
        return known, 0

    def _completed_by_another(self) -> tuple[Times, int]:
        """Layers' times by torch, whole networks by the runtime, which does not tell of operators."""
        eager = replace(self._target, runtime="eager")
        twin = _Bench(self._model, self._graph, eager, self._channels, self._links, self._effort)
        layers, networks = twin.complete()
        store = Store(self._target.cache, self._target.key, self._target.about)
        known = replace(store.read(), step=layers.step)
        enough = len(known.of(self.operators.digest)) >= self._effort.calibrating
        if not enough:
            new = self._measured(known, most=self._effort.calibrating)
            networks += len(new.passes)
            known = store.add(new) if store.path else _joined(known, new)
        shapes = [replace(one, total=0.0, network="") for one in layers.passes]  # their kinds, not their totals
        return Times(known.step, known.unit, layers.layers, [*known.passes, *shapes]), networks

    def _measured(self, known: Times, most: int | None = None) -> Times:
        clock = Clock(self._target)
        step = known.step or find_step(self._target, clock)
        new = Times(step)
        started = clock.now()
        template = OnnxTemplate(self._model, self._example) if self._target.runtime == "onnxruntime" else None
        seen = len(known.of(self.operators.digest))
        for removed in itertools.islice(drawn(self._graph, max(step, ROUNDED), seed=seen), most):
            seconds = clock.now() - started
            if most is None and not self._lacks(_joined(known, new), len(new.passes), seconds):
                break
            self._time(clock, removed, template, new)
        new.unit = clock.unit
        return new

    def _time(self, clock: Clock, removed: Tensor, template: OnnxTemplate | None, into: Times) -> None:
        """One network: cut, run, and written down."""
        model, graph = copy_of(self._model), copy.copy(self._graph)
        if bool(removed.any()):
            cut(model, graph, removed)
        ready = prepare(model, self._example, self._target, template)
        reading, profile = ready.profile(clock)
        if reading.spread > UNSTEADY:
            reading, profile = min((reading, profile), ready.profile(clock), key=lambda found: found[0].spread)
        lengths = self.operators.lengths(self.operators.alive(graph))
        profile = None if profile is None else profile.times(reading.time / max(profile.total, 1e-12))
        whole = Pass(
            self.operators.digest,
            lengths.tolist(),
            reading.time,
            self.operators.numbers_of_elements(lengths, into.step or 1),
            self.operators.counts,
            profile.rest if profile else {},
        )
        into.add(self.operators.told(profile.layers, lengths) if profile else (), whole)

    def _lacks(self, known: Times, networks: int, seconds: float) -> bool:
        """Whether more is to be timed."""
        effort = self._effort
        if len(known.of(self.operators.digest)) < effort.calibrating:
            return True
        missing = any(
            not _covered(known, one.shape, self._whole[one.reads], self._whole[one.gives], effort.samples)
            for one in self.operators.layers
            if networks < effort.networks or one.shape in known.layers  # a runtime may do it in another way
        )
        return missing and (networks < effort.networks or seconds < effort.seconds) and networks < MOST


UNSEEN = ("compile", "cuda_graphs")
"""Runtimes that do not tell what an operator takes."""

UNSTEADY = 0.15
"""A network whose runs spread more than this is timed once more."""

ROUNDED = 8
"""A third of the networks have widths that are multiples of this, or of the step where that is larger."""

MOST = 60
"""Networks that one call times at most: a layer that is never met wide enough ends no search otherwise."""


def _covered(times: Times, shape: str, reads: int, gives: int, samples: int) -> bool:
    """Whether a layer's shape was timed often enough, and as wide as it is here."""
    found = times.layers.get(shape, [])
    return len(found) >= samples and max(one[0] for one in found) >= reads and max(one[1] for one in found) >= gives


def _joined(one: Times, other: Times) -> Times:
    layers = {shape: [*one.layers.get(shape, []), *other.layers.get(shape, [])] for shape in one.layers | other.layers}
    return Times(one.step or other.step, one.unit or other.unit, layers, [*one.passes, *other.passes])


PROBED = range(25, 65)
"""Widths of the layer in the middle of the network that looks for steps."""


def find_step(target: Target, clock: Clock) -> int:
    """The multiple of channels at which time jumps on a target: 1 where it does not."""
    example = torch.randn(1, 64, 32, 32, generator=torch.Generator().manual_seed(0)).to(str(target.device))
    works: list[Ready] = [prepare(_probe(width), example, target) for width in PROBED]
    readings = clock.in_turns([ready.run for ready in works], rounds=4, tries=0, spend=0.01)
    return step_of(list(PROBED), [reading.time for reading in readings])


def _probe(width: int) -> nn.Module:
    """Three convolutions; the one in the middle has so many filters."""
    convolutions = [
        nn.Conv2d(64, 64, 3, padding=1),
        nn.Conv2d(64, width, 3, padding=1),
        nn.Conv2d(width, 64, 3, padding=1),
    ]
    return nn.Sequential(*(part for one in convolutions for part in (one, nn.ReLU())))
