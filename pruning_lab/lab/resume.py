"""Takes up a run that was cut short, from the last state that it saved. Must not know how a step is done."""

from __future__ import annotations

from collections.abc import Callable

from pruning_lab.lab.base_model import hash_of_base
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.loop import begin, go_on
from pruning_lab.lab.saved_state import SavedState, saved_state
from pruning_lab.lab.start import begun, claimed, done, mark_done, set_threads, sweep_drafts, tracked
from pruning_lab.lab.state import RunState
from pruning_lab.training.compute import deterministic, set_random_state

Work = Callable[[RunState], dict[str, float]]
"""What a run does from any state to its end; returns the run's summary."""


def prune(lab: Experiment) -> dict[str, float]:
    """Prune, as `lab.prune` does, from where the run in this folder stands.

    A run that is done stays as it is. One that was cut short goes on where it was: in the same folder, in the same run
    of the tracking store, to the same end. Where there is none, one begins.

    Args:
        lab: the experiment of the run, built anew from the same choices.

    Returns:
        the run's summary.

    Raises:
        LabError: another process works in the run's folder, or its state is damaged.
    """
    return to_the_end(lab, lambda state: go_on(lab, state), lambda: begin(lab))


def to_the_end(lab: Experiment, work: Work, start: Callable[[], RunState]) -> dict[str, float]:
    """Open the run where it stands, do its work, and mark it as done.

    Args:
        start: gives the first state of a run that has none yet.
    """
    folder = lab.output.folder
    with claimed(folder):
        if (summary := done(folder)) is not None:
            lab.output.reporter.say(f"{folder} is done")
            return summary
        sweep_drafts(folder)
        saved, run_id = saved_state(folder), begun(folder)
        with tracked(lab.output, run_id):
            summary = work(take_up(lab, saved) if saved is not None else start())
        mark_done(lab.output, summary)
    return summary


def take_up(lab: Experiment, saved: SavedState) -> RunState:
    """A saved state as the run's, with a word to the user."""
    reporter = lab.output.reporter
    set_threads(lab, saved.threads)
    deterministic(lab.training.deterministic)
    state = saved.restore(lab)
    if hash_of_base(lab) != state.base_hash:
        reporter.warn("data, code or torch changed since the run began: its steps to come may not be those it had")
    batch = f", from batch {state.training.steps} of the recovery" if state.training is not None else ""
    reporter.say(f"goes on after step {state.step}{batch}")
    set_random_state(state.random)
    return state
