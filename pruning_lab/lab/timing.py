"""A run's milliseconds: the model of latency, made only for runs that ask, and the network timed on its target.

Trains nothing. What is made here is kept with the experiment, and not in the state: a resumed run makes it anew from
the times on disk.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.history import Row
from pruning_lab.lab.state import RunState
from pruning_lab.resources.latency.clock import Clock, Reading
from pruning_lab.resources.latency.measuring import latency_model
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.resources.latency.runtimes import Ready, prepare
from pruning_lab.resources.latency.target import Target
from pruning_lab.resources.table import MEASURED, MILLISECONDS, NOTHING_LEFT_OUT, column
from pruning_lab.selection.stopping import StopRule

ROUNDS = 5
"""Turns in which base and network are timed after a step."""


@dataclass(frozen=True)
class Timing:
    """What a run has to tell milliseconds with.

    Attributes:
        model: predicts.
        target: where networks are timed, filled.
        base: ready to run there.
    """

    model: LatencyModel
    target: Target
    base: Ready


def timing_of(lab: Experiment, state: RunState) -> Timing | None:
    """The run's model of latency; None for a run that does not ask for latency, or names no target.

    Raises:
        LabError: the target's runtime does not take the network.
    """
    pruning = lab.pruning
    if pruning.target is None or not (pruning.selection.wants_latency or asks_for_latency(pruning.stop)):
        return None
    if state.base_hash not in pruning.timings:
        target = lab.target()
        example = target.example(lab.example().shape[1])
        graph = ChannelGraph.trace(state.base, example.to(next(state.base.parameters()).device))
        links = lab.model.connections
        model = latency_model(state.base, graph, target, example.shape[1], links, tell=lab.output.reporter.say)
        pruning.timings[state.base_hash] = Timing(model, target, prepare(state.base, example, target))
    found: Timing = pruning.timings[state.base_hash]
    return found


def model_of(lab: Experiment, state: RunState) -> LatencyModel | None:
    """The run's model of latency, where it has one."""
    timing = timing_of(lab, state)
    return None if timing is None else timing.model


def time_on_target(lab: Experiment, state: RunState, timing: Timing) -> Row:
    """Time the network in turns with the base on the run's target, beside what was predicted.

    Returns:
        columns of the history; `resources/latency_fraction` is the ratio of the two times.
    """
    started = time.perf_counter()
    base, pruned = _in_turns(lab, timing, state.model)
    milliseconds = 1000 * timing.model.unit
    predicted = 1000 * timing.model.seconds(state.graph)
    return {
        **_fractions(timing, base, pruned),
        "latency/base_ms": milliseconds * base.time,
        "latency/spread": pruned.spread,
        "latency/predicted_ms": predicted,
        "latency/prediction_error": predicted / (milliseconds * pruned.time) - 1,
        "cost/latency_seconds": time.perf_counter() - started,
    }


def fractions_on_target(lab: Experiment, timing: Timing, model: nn.Module) -> dict[str, float]:
    """Time a network in turns with the base on the run's target: the columns that budgets look at."""
    return _fractions(timing, *_in_turns(lab, timing, model))


def _in_turns(lab: Experiment, timing: Timing, model: nn.Module) -> tuple[Reading, Reading]:
    target = timing.target
    with target.threads_set():
        network = prepare(model, target.example(lab.example().shape[1]), target)
        base, pruned = Clock(target).in_turns([timing.base.run, network.run], rounds=ROUNDS)
    return base, pruned


def _fractions(timing: Timing, base: Reading, pruned: Reading) -> dict[str, float]:
    return {
        column("latency"): pruned.time / base.time,
        column(MILLISECONDS): 1000 * timing.model.unit * pruned.time,
    }


def asks_for_latency(stop: StopRule) -> bool:
    """Whether a stop rule looks at latency, found out by letting it look at a network that is whole."""
    seen = _Watched()
    stop(seen)
    return bool(seen.asked & {*MEASURED, MILLISECONDS})


class _Watched(Mapping[str, float]):
    """Fractions of a whole network, which remember what was looked up."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.asked.add(name)
        return NOTHING_LEFT_OUT[name]

    def __iter__(self) -> Iterator[str]:
        return iter(NOTHING_LEFT_OUT)

    def __len__(self) -> int:
        return len(NOTHING_LEFT_OUT)
