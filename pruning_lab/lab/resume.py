"""Takes up a run that was cut short, from the last state that it saved. Must not know how a step is done."""

from __future__ import annotations

from pruning_lab.lab.base_model import hash_of_base
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.loop import go_on
from pruning_lab.lab.saved_state import saved_state
from pruning_lab.lab.start import tracked
from pruning_lab.training.compute import deterministic, set_random_state


def resume(lab: Experiment) -> dict[str, float]:
    """Go on from the last saved step, in the same folder and the same run of the tracking store.

    Args:
        lab: the experiment of the run, built anew from the same choices.

    Returns:
        the run's summary, as `prune` would have returned it.

    Raises:
        LabError: the run's folder holds no state, or a process still works in it.
    """
    reporter = lab.output.reporter
    saved = saved_state(lab.output.folder)
    with tracked(lab.output, saved.run_id):
        deterministic(lab.training.deterministic)
        state = saved.restore(lab)
        if hash_of_base(lab) != state.base_hash:
            reporter.warn("data, code or torch changed since the run began: its steps to come may not be those it had")
        reporter.say(f"goes on after step {state.step}")
        set_random_state(state.random)
        return go_on(lab, state)
