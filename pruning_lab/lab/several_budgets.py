"""Prunes to several budgets, and takes the steps that they share once. Knows the loop, not how a step is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.loop import begin, go_on
from pruning_lab.lab.output.base_losses import read_losses, write_losses
from pruning_lab.lab.saved_state import sweep_up
from pruning_lab.lab.start import announce, tracked
from pruning_lab.lab.state import RunState
from pruning_lab.lab.step import logged
from pruning_lab.lab.weighing import costs_of
from pruning_lab.training.compute import set_random_state


def prune_to_each(labs: Sequence[Experiment]) -> list[dict[str, float]]:
    """Prune to several budgets, and take the steps that they share once.

    Every budget ends as a run of its own, with its own last step and final recovery; it is the run that `prune` makes
    of it alone.

    Args:
        labs: differ in their stop rules, folders and trackers alone. Each budget is tighter than the one before it,
            and of the same single resource.

    Returns:
        the summary of each run.
    """
    fork: Fork | None = None
    summaries = []
    for lab in labs:
        with tracked(lab.output):
            state = begin(lab) if fork is None else take_over(lab, fork)
            if lab is labs[-1]:
                summaries.append(go_on(lab, state))
            else:
                forks = _Forks(lab, state)
                forks.remember()
                summaries.append(go_on(lab, state, before_step=forks.remember))
                fork = forks.last
    return summaries


@dataclass(frozen=True)
class Fork:
    """Where a tighter budget leaves the way of another: before the last step, which the budget may have cut short."""

    state: RunState
    folder: Path


class _Forks:
    """Remembers the state at the start of a run, and then that before each of its steps; the last one counts."""

    def __init__(self, lab: Experiment, state: RunState) -> None:
        self._folder, self._state = lab.output.folder, state
        self.last: Fork | None = None

    def remember(self) -> None:
        self.last = Fork(self._state.fork(), self._folder)


def take_over(lab: Experiment, fork: Fork) -> RunState:
    """Another run's step as the start of this run, as if this one had come here by itself."""
    state, tracker = fork.state, lab.output.tracker
    sweep_up(lab.output.folder)
    announce(lab)
    if losses := read_losses(fork.folder):
        write_losses(lab.output.folder, losses)
    tracker.tag("base_hash", state.base_hash)
    tracker.tag("steps_shared_with", str(fork.folder))
    for row in state.history:
        tracker.log_step(int(row["step"]), logged(row))
    lab.output.reporter.say(f"{state.step} steps are shared with {fork.folder}")
    state.unmet = lab.pruning.stop(costs_of(lab, state))
    set_random_state(state.random)
    return state
