"""What `loop` does within a step: prove the first cut, cut, train, validate, and write the step's row down.

Must not know which step it is, nor why these groups leave.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import disk_trouble
from pruning_lab.data.batches import Stack
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.proof.verification import verify
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.console import Task
from pruning_lab.lab.output.history import Row
from pruning_lab.lab.output.sentences import first_cut
from pruning_lab.lab.saved_state import save_state
from pruning_lab.lab.state import RunState
from pruning_lab.lab.weighing import weigh
from pruning_lab.training.compute import random_state
from pruning_lab.training.distillation import objective_of
from pruning_lab.training.loop import TrainReport
from pruning_lab.training.progress import Keeper, Progress

TOLERANCE = 1e-4
"""Largest difference between the cut and the masked model, relative to the output, that counts as exact in float32."""


class Counted:
    """Batches on a device that remember how many images were looked at, over however many passes."""

    def __init__(self, batches: Stack, device: str | torch.device = "cpu") -> None:
        self._batches, self._device = batches, torch.device(device)
        self.images = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for image, mask in self._batches.on(self._device):
            self.images += len(image)
            yield image, mask


def prove_cut(lab: Experiment, state: RunState, groups: Tensor) -> Row:
    """Compare the cut with the masked model on real images, before anything is cut.

    Raises:
        LabError: they differ.
    """
    image, _ = lab.loaders().score_batches(4)[0]
    difference = verify(state.model, state.graph, groups, image.to(lab.training.settings.device))
    if difference > TOLERANCE:
        raise LabError(
            f"the first cut changed the model's output by {difference:.1e} (relative) against the masked model; "
            "please report this model, or freeze the layers concerned with floors.by_module"
        )
    lab.output.reporter.say(first_cut(difference, mixed=bool(state.graph.mixed)))
    return {"cost/verify_difference": difference}


def cut_off(state: RunState, groups: Tensor) -> Row:
    """Remove groups from model, graph and optimizer."""
    started = time.perf_counter()
    cut(state.model, state.graph, groups, state.optimizer)
    state.timed = {}
    return {"cost/cut_seconds": time.perf_counter() - started}


def heal(lab: Experiment, state: RunState, name: str, final: bool, repaired: bool = False) -> Row:
    """Train after a cut, and learn from the base if that is asked for; every recovery of a run sees other shuffles.

    Args:
        repaired: a compensation has repaired what the cut did.
    """
    training, batches = lab.training, lab.loaders().train_loader
    objective = objective_of(
        training.distillation, training.loss, state.base, state.model, state.graph, training.settings
    )
    start, state.training = state.training, None
    with lab.output.reporter.task(name, training.recovery.total_steps(len(batches(0)), final=final)) as task:
        task.advance(0 if start is None else start.steps)
        report = training.recovery.heal(
            state.model,
            state.optimizer,
            batches,
            objective=objective,
            final=final,
            repaired=repaired,
            first_epoch=state.epoch,
            settings=training.settings,
            on_batch=progress(task),
            start=start,
            keeper=Keeper(partial(_keep, lab, state), training.save_every),
        )
    state.epoch += math.ceil(report.epochs)
    return training_costs(report)


def validate(lab: Experiment, state: RunState) -> Row:
    """`val/...` scores of the model as it is now, and how long they took."""
    started = time.perf_counter()
    scores = lab.validator().evaluate(state.model, lab.loaders().eval_loader("val"))
    row = {f"val/{name}": value for name, value in scores.items()}
    return row | {"cost/validation_seconds": time.perf_counter() - started}


def finish_step(lab: Experiment, state: RunState, row: Row) -> Row:
    """A step is done: weigh its network, write its row, log it, keep a snapshot.

    Nothing of a step is written before this.

    Args:
        row: what the step measured.

    Returns:
        the row as the history has it.
    """
    state.unmet, weighed = weigh(lab, state)
    state.history.append({"step": state.step, **weighed, **row})
    state.timed = {name: value for name, value in weighed.items() if "latency" in name and not name.startswith("cost/")}
    state.random = random_state()
    state.widths.append(state.graph.widths)
    state.snapshots.add(state.step, state.model, state.graph)
    state.history.write(lab.output.folder / "history.csv")
    lab.output.tracker.log_step(state.step, logged(state.history[-1]))
    lab.output.reporter.step_line(state.history[-1])
    return state.history[-1]


def rest(lab: Experiment, state: RunState) -> None:
    """Save the state; a run that can't be saved goes on, with a warning."""
    try:
        save_state(state, lab.output.folder, lab.output.tracker.run_id)
    except (LabError, OSError) as error:
        what = disk_trouble(error, lab.output.folder) if isinstance(error, OSError) else error
        lab.output.reporter.warn(f"step {state.step} is not saved, so the run can't be taken up from there: {what}")


def _keep(lab: Experiment, state: RunState, progress: Progress) -> None:
    """Save the state within a recovery."""
    state.training = progress
    try:
        rest(lab, state)
    finally:
        state.training = None


def logged(row: Mapping[str, float]) -> Row:
    """What of a row of the history goes to the tracking store as metrics of its step; scores lead."""
    scores = {name: value for name, value in row.items() if name.startswith("val/")}
    return scores | {name: value for name, value in row.items() if name != "step"}


def training_costs(report: TrainReport) -> Row:
    """What a training spent, under the names of the history."""
    return {
        "cost/recovery_epochs": report.epochs,
        "cost/recovery_seconds": report.seconds,
        "cost/recovery_images": report.images,
        "cost/learning_rate": report.learning_rate_start,
    }


def progress(task: Task) -> Callable[[float], None]:
    """Move a progress bar by one with every batch, and show its loss."""

    def on_batch(loss: float) -> None:
        task.advance()
        task.note(f"loss {loss:.3f}")

    return on_batch
