"""The stages of a run that `lab` puts in order: base, proof of the first cut, recovery, validation, the step's row."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.data.batches import Stack
from pruning_lab.graph.proof.trial_cuts import verify
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.console import Task
from pruning_lab.lab.output.samples import augmented_samples
from pruning_lab.lab.state import RunState
from pruning_lab.resources.counting import measure
from pruning_lab.resources.fractions import Costs
from pruning_lab.resources.latency import measure_in_turns
from pruning_lab.training.compute import random_state
from pruning_lab.training.distillation import objective_of
from pruning_lab.training.loop import TrainReport

TOLERANCE = 1e-4
"""Largest difference between the cut and the masked model, relative to the output, that counts as exact in float32."""

SAMPLES = 8
"""Augmented images in the picture at the start of a run."""


class Counted:
    """Batches on a device that remember how many images were looked at, over however many passes."""

    def __init__(self, batches: Stack, device: str | torch.device = "cpu") -> None:
        self._batches, self._device = batches, torch.device(device)
        self.images = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for image, mask in self._batches.on(self._device):
            self.images += len(image)
            yield image, mask


def prove_cut(lab: Experiment, state: RunState, groups: Tensor) -> None:
    """Compare the cut with the masked model on real images, before anything is cut.

    Raises:
        LabError: they differ.
    """
    image, _ = lab.loaders().score_batches(4)[0]
    difference = verify(state.model, state.graph, groups, image.to(lab.settings.device))
    state.costs["cost/verify_difference"] = difference
    if difference > TOLERANCE:
        raise LabError(
            f"the first cut changed the model's output by {difference:.1e} (relative) against the masked model; "
            "please report this model, or freeze the layers concerned with floors.by_module"
        )
    note = " (normalizations over channels taken over those left)" if state.graph.mixed else ""
    lab.reporter.say(f"first cut proved on real images: cut and masked differ by {difference:.1e}{note}")


def heal(lab: Experiment, state: RunState, name: str, final: bool) -> TrainReport:
    """Train after a cut, and learn from the base if that is asked for; every recovery of a run sees other shuffles."""
    loaders = lab.loaders()
    objective = objective_of(lab.distillation, lab.loss, state.base, state.model, state.graph, lab.settings)
    total = lab.recovery.total_steps(len(loaders.train_loader(0)), final=final)
    with lab.reporter.task(name, total) as task:
        report = lab.recovery.heal(
            state.model,
            state.optimizer,
            loaders.train_loader,
            objective=objective,
            final=final,
            first_epoch=state.epoch,
            settings=lab.settings,
            on_batch=progress(task),
        )
    state.epoch += math.ceil(report.epochs)
    return report


def validate(lab: Experiment, state: RunState) -> dict[str, float]:
    """`val/...` scores of the model as it is now."""
    started = time.perf_counter()
    scores = lab.validator().evaluate(state.model, lab.loaders().eval_loader("val"))
    state.costs["cost/validation_seconds"] = (
        state.costs.get("cost/validation_seconds", 0.0) + time.perf_counter() - started
    )
    return {f"val/{name}": value for name, value in scores.items()}


def weigh(lab: Experiment, state: RunState) -> Costs:
    """What the model as it is now costs; what was measured of it before is kept as long as no group leaves."""
    now = measure(state.graph)
    if state.left is None or state.left.now != now:
        state.left = Costs(now, state.original, lambda: time_against_base(lab, state))
    return state.left


def time_against_base(lab: Experiment, state: RunState) -> dict[str, float]:
    """Measure the model's latency in turns with the base's, on the run's device, for every batch size of the plan.

    Returns:
        columns of the history; `resources/latency_fraction` is the ratio of medians for the first batch size.
    """
    started = time.perf_counter()
    plan, settings = lab.latency, lab.settings
    models = [settings.place(copy.deepcopy(state.base)), state.model]
    layout = torch.channels_last if settings.channels_last else torch.preserve_format
    row: dict[str, float] = {}
    for batch in plan.batches:
        example = lab.example(batch).to(memory_format=layout)
        base, pruned = measure_in_turns(models, example, plan.warmup, plan.repeats, settings.logits)
        row.setdefault("resources/latency_fraction", pruned.median_s / base.median_s)
        row |= {
            f"latency/batch_{batch}_ms": 1000 * pruned.median_s,
            f"latency/batch_{batch}_low_ms": 1000 * pruned.low_s,
            f"latency/batch_{batch}_high_ms": 1000 * pruned.high_s,
            f"latency/batch_{batch}_base_ms": 1000 * base.median_s,
        }
    state.costs["cost/latency_seconds"] = time.perf_counter() - started
    return row


def finish_step(lab: Experiment, state: RunState, row: dict[str, float]) -> None:
    """A step is done: write its row, log it, keep a snapshot. Nothing of a step is written before this."""
    left = weigh(lab, state)
    if lab.latency.is_due(state.step):
        _ = left["latency"]
    lab.stop(left)  # what the stop rule wants measured belongs into this row
    state.random = random_state()
    state.widths.append(state.graph.widths)
    state.snapshots.add(state.step, state.model, state.graph)
    state.history.append({"step": state.step, **left.row, **row, **state.costs})
    state.costs = {}
    state.history.write(lab.folder / "history.csv")
    lab.tracker.log_step(state.step, logged(state.history[-1]))
    lab.reporter.step_line(state.history[-1])


def logged(row: Mapping[str, float]) -> dict[str, float]:
    """What of a row of the history goes to the tracking store as metrics of its step."""
    return {name: value for name, value in row.items() if name != "step"}


def show_samples(lab: Experiment) -> None:
    """The picture of augmented training images that is logged at the start of every run."""
    pairs = lab.loaders().sample_picture_data(min(SAMPLES, len(lab.data.train)))
    images, masks = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    path = augmented_samples(images, masks, lab.data.class_names, lab.folder / "figures" / "augmented_samples.png")
    lab.tracker.log_artifact(path, "figures")


def training_costs(report: TrainReport) -> dict[str, float]:
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
