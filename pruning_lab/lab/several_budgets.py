"""Prunes to several budgets, and takes the steps that they share once. Knows the loop, not how a step is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.loop import begin, go_on
from pruning_lab.lab.output.base_losses import read_losses, write_losses
from pruning_lab.lab.output.card import read_cards
from pruning_lab.lab.output.history import Row
from pruning_lab.lab.resume import to_the_end
from pruning_lab.lab.saved_state import save_state, saved_state
from pruning_lab.lab.start import TRAINING, announce
from pruning_lab.lab.state import RunState
from pruning_lab.lab.step import logged
from pruning_lab.lab.weighing import costs_of
from pruning_lab.training.compute import deterministic, set_random_state

SHARED = f".shared{TRAINING}"
"""Folder in a budget's run folder: where the budget before it leaves the way of both."""


def prune_to_each(labs: Sequence[Experiment]) -> list[dict[str, float]]:
    """Prune to several budgets, and take the steps that they share once.

    Every budget ends as a run of its own, with its own last step and final recovery; it is the run that `prune` makes
    of it alone. Budgets that are done stay as they are, and one that was cut short goes on where it was.

    Args:
        labs: differ in their stop rules, folders and trackers alone. Each budget is tighter than the one before it,
            and of the same single resource.

    Returns:
        the summary of each run.
    """
    fork: Fork | None = None
    summaries = []
    for place, lab in enumerate(labs):
        before = labs[place - 1].output.folder if place else None
        forks = _Forks(lab, labs[place + 1] if place + 1 < len(labs) else None)
        summaries.append(_prune(lab, fork, before, forks))
        fork = forks.last
    return summaries


def _prune(lab: Experiment, fork: Fork | None, before: Path | None, forks: _Forks) -> dict[str, float]:
    """One budget: from where its run stands, else from where the budget before it left the common way."""

    def start() -> RunState:
        shared = fork if fork is not None or before is None else _fork_on_disk(lab, before)
        return begin(lab) if shared is None else take_over(lab, shared)

    def work(state: RunState) -> dict[str, float]:
        state.base_test = _base_test(before, state.base_hash)
        forks.remember(state)
        return go_on(lab, state, before_step=lambda: forks.remember(state))

    return to_the_end(lab, work, start)


def _base_test(before: Path | None, base_hash: str) -> Row:
    """The base's test scores, from the card of the budget before, which is of the same base; else nothing."""
    try:
        cards = None if before is None else read_cards(before)
    except LabError:
        return {}
    if cards is None or cards.base_hash != base_hash:
        return {}
    return {"iou": cards.base.test_iou, "dice": cards.base.test_dice}


@dataclass(frozen=True)
class Fork:
    """Where a tighter budget leaves the way of another: before the last step, which the budget may have cut short."""

    state: RunState
    folder: Path


class _Forks:
    """Remembers the state at the start of a run, and then that before each of its steps; the last one counts.

    It is also written into the next budget's folder, so that the steps are not lost with this process.
    """

    def __init__(self, lab: Experiment, following: Experiment | None) -> None:
        self._lab, self._following = lab, following
        self.last: Fork | None = None

    def remember(self, state: RunState) -> None:
        if self._following is None or state.half or state.ended:
            return
        own, others = self._lab.output.folder, self._following.output.folder
        self.last = Fork(state.fork(), own)
        try:
            save_state(state, others / SHARED, like=own)
        except (LabError, OSError) as error:
            self._lab.output.reporter.warn(f"the steps shared with {others} are not saved: {error}")


def _fork_on_disk(lab: Experiment, before: Path) -> Fork | None:
    """What an earlier process left for this budget. Without it the budget starts from its base, to the same end."""
    try:
        saved = saved_state(lab.output.folder / SHARED)
        return None if saved is None else Fork(saved.restore(lab), before)
    except LabError as error:
        lab.output.reporter.warn(f"steps shared with {before} are taken again: {error}")
        return None


def take_over(lab: Experiment, fork: Fork) -> RunState:
    """Another run's step as the start of this run, as if this one had come here by itself."""
    state, tracker = fork.state, lab.output.tracker
    deterministic(lab.training.deterministic)
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
