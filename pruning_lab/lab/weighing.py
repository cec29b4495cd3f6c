"""What a run's network costs now: counted, and timed in turns with the base where that is asked for. Trains nothing."""

from __future__ import annotations

import copy
import time

import torch

from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.history import Row
from pruning_lab.lab.state import RunState
from pruning_lab.lab.timing import time_on_target, timing_of
from pruning_lab.resources.counting import measure
from pruning_lab.resources.fractions import Fractions
from pruning_lab.resources.latency import measure_in_turns
from pruning_lab.resources.table import column


def weigh(lab: Experiment, state: RunState) -> tuple[frozenset[str], Row]:
    """Which resources are still above the budget, and the columns of all that is known of the costs by then.

    Latency is among them where it is due, where the stop rule asks for it, or where this network was timed before.
    """
    timed = state.timed
    due = lab.pruning.latency.is_due(state.step) or lab.pruning.selection.wants_latency
    if not timed and due:
        timed = time_against_base(lab, state)
    costs = _costs(lab, state, timed)
    unmet = lab.pruning.stop(costs)
    return unmet, costs.row | timed


def costs_of(lab: Experiment, state: RunState) -> Fractions:
    """What the network costs now, for rules that ask; it is timed only if one does, and was not timed before."""
    return _costs(lab, state, state.timed)


def _costs(lab: Experiment, state: RunState, timed: Row) -> Fractions:
    return Fractions(measure(state.graph), state.original, lambda: timed or time_against_base(lab, state))


def time_against_base(lab: Experiment, state: RunState) -> Row:
    """Measure the model's latency in turns with the base's, on the run's device, for every batch size of the plan.

    A run that asks for latency, and so has a model of it, is timed on its target instead.

    Returns:
        columns of the history; `resources/latency_fraction` is the ratio of medians for the first batch size.
    """
    if (timing := timing_of(lab, state)) is not None:
        return time_on_target(lab, state, timing)
    started = time.perf_counter()
    plan, settings = lab.pruning.latency, lab.training.settings
    models = [settings.place(copy.deepcopy(state.base)), state.model]
    layout = torch.channels_last if settings.channels_last else torch.preserve_format
    row: Row = {}
    for batch in plan.batches:
        example = lab.example(batch).to(memory_format=layout)
        base, pruned = measure_in_turns(models, example, plan.warmup, plan.repeats, settings.logits)
        row.setdefault(column("latency"), pruned.median_s / base.median_s)
        row |= {
            f"latency/batch_{batch}_ms": 1000 * pruned.median_s,
            f"latency/batch_{batch}_low_ms": 1000 * pruned.low_s,
            f"latency/batch_{batch}_high_ms": 1000 * pruned.high_s,
            f"latency/batch_{batch}_base_ms": 1000 * base.median_s,
        }
    return row | {"cost/latency_seconds": time.perf_counter() - started}
