"""What a run does between a cut and its recovery: repair the network, and see what that was worth.

Knows compensations by their contract alone.
"""

from __future__ import annotations

from pruning_lab.compensation import Before, NoCompensation
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.history import Row
from pruning_lab.lab.state import RunState
from pruning_lab.lab.step import validate


def before_cut(lab: Experiment, state: RunState) -> Before | None:
    """The network as it is, where the compensation will look at it; taken before the cut."""
    return Before.of(state.model, state.graph) if lab.pruning.compensation.needs_before else None


def compensate(lab: Experiment, state: RunState, before: Before | None) -> Row:
    """Repair the network after a cut; columns of the step's row, among them the scores that the plain cut had."""
    if isinstance(lab.pruning.compensation, NoCompensation):
        return {}
    batches = lab.loaders().score_batches()
    plain = validate(lab, state)
    report = lab.pruning.compensation(before, state.model, state.graph, batches)
    if report.text():
        reporter = lab.output.reporter
        (reporter.say if report.kept else reporter.warn)(report.text())
    return {
        "val/iou_before_compensation": plain["val/iou"],
        "val/loss_before_compensation": plain["val/loss"],
        **report.row(),
    }


def is_repaired(row: Row) -> bool:
    """Whether a compensation brought the network's answer nearer to what it was, by the columns that it gave."""
    return row.get("compensation/error", 1.0) < row.get("compensation/error_plain", 0.0)
