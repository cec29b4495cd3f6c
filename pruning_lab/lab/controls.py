"""Controls: what a pruning run has to beat, from the same base and with the same training. Knows no config.

Each is measured against a finished run and leaves a run folder of its own, with the same files and names, so that the
two stand side by side in every table: step 0 is the base, the last step the control. Were the cuts worth it, or would
random filters, fresh weights, another shape, or the base with as much more training have done as well? (Blalock et al.
2020; Liu et al. 2019; Lean U-Net 2025)
"""

from __future__ import annotations

import bisect
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pruning_lab.checkpoint import Builder, load, read_architecture
from pruning_lab.checkpoint.trust import Trust
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.base_model import hash_of_base
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.finish import close
from pruning_lab.lab.loop import begin
from pruning_lab.lab.output.history import Row
from pruning_lab.lab.output.run_folder import Run
from pruning_lab.lab.promise import BestWithinBudget, Last, Promise, Within
from pruning_lab.lab.resume import to_the_end
from pruning_lab.lab.start import TRAINING
from pruning_lab.lab.state import RunState
from pruning_lab.lab.step import finish_step, heal, progress, rest, training_costs, validate
from pruning_lab.models import UNet
from pruning_lab.resources.counting import measure
from pruning_lab.selection.stopping import All
from pruning_lab.training.compute import seed_everything
from pruning_lab.training.drafts import TrainingDraft

WIDEST = 4096
"""Filters per level up to which a flat U-Net is searched."""


def to_the_widths_of(run: Run, lab: Experiment) -> Experiment:
    """The experiment, to end where the run's model ended: with the same FLOPs and weights, whatever its budget was."""
    _check_base(lab, run)
    limits = run.cards.left
    lab = replace(lab, pruning=replace(lab.pruning, stop=All(**limits)))
    return _as_control("random_at_widths", lab, run, Within(lab.pruning.validation.promise, **limits))


def scratch(lab: Experiment, run: Run, same: str = "epochs", trust: Trust = ()) -> dict[str, float]:
    """Train the run's pruned network from fresh weights.

    Args:
        same: what is spent as the run spent it: `epochs`, or `compute`, FLOPs x images. Only training passes count;
            what the run spent on scores and on answers of the base in distillation comes on top.
        trust: see `checkpoint.load`.

    Returns:
        the control's summary.

    Raises:
        LabError: the run is from another base, or a module can't draw its weights anew.
    """
    _check_base(lab, run)
    folder = run.folder / "model"
    network = load(folder, trust)
    draw_weights(network, lab.training.seed)
    lab = _as_control("scratch", lab, run, Last())
    return _train_instead(lab, run, network, same, "scratch", folder)


def flat(lab: Experiment, run: Run, same: str = "epochs") -> dict[str, float]:
    """Train a U-Net that has as many filters at every level, and as nearly as it can the weights of the run's network.

    Arguments and errors are those of `scratch`.
    """
    _check_base(lab, run)
    builder = flat_unet(lab, run)
    seed_everything(lab.training.seed)
    network = UNet(**builder.arguments)
    lab = _as_control("flat", lab, run, Last())
    return _train_instead(lab, run, network, same, "flat U-Net", builder=builder)


def train_longer(lab: Experiment, run: Run) -> dict[str, float]:
    """Give the base every recovery that the run had, one by one, but no cut.

    Step by step the base has seen as many images as the run's model. Of the last snapshots the best on validation data
    is kept.

    Returns:
        the control's summary.

    Raises:
        LabError: the run is from another base.
    """
    _check_base(lab, run)
    lab = _as_control("train_longer", lab, run, BestWithinBudget())

    def work(state: RunState) -> dict[str, float]:
        for row in run.history.rows[1 + state.step :]:
            rest(lab, state)
            final = "val/iou_before_recovery" not in row
            recovery = heal(lab, state, f"recovery {state.step + 1}", final=final)
            state.step += 1
            finish_step(lab, state, validate(lab, state) | recovery)
        state.ended = "recoveries"
        return close(lab, state, "trained longer")

    return to_the_end(lab, work, lambda: begin(lab))


def draw_weights(model: nn.Module, seed: int) -> None:
    """Give every module fresh weights by its own `reset_parameters`, in place.

    Raises:
        LabError: a module holds parameters and has no such method.
    """
    seed_everything(seed)
    for name, module in model.named_modules():
        draw = getattr(module, "reset_parameters", None)
        if callable(draw):
            draw()
        elif next(module.parameters(recurse=False), None) is not None:
            kind = type(module).__name__
            raise LabError(f"{name or 'the model'} ({kind}) has weights but no reset_parameters(); give {kind} one")


def flat_unet(lab: Experiment, run: Run) -> Builder:
    """The flat U-Net whose number of weights is the nearest to the run's; of the base's depth where that is a U-Net."""
    like = read_architecture(run.folder / "model")["builder"]
    shape = {key: like["arguments"][key] for key in ("depth", "upsampling") if key in like["arguments"]}
    data = lab.data.dataset
    common: dict[str, Any] = {"in_channels": data.channels, "classes": len(data.class_names), "growth": 1}
    common |= shape if like["target"] == "pruning_lab.models.UNet" else {}

    def weights(width: int) -> int:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in UNet(width=width, **common).parameters())

    wanted, widths = run.cards.pruned.weights, range(1, WIDEST)
    above = bisect.bisect_left(widths, wanted, key=weights)
    width = min(widths[max(above - 1, 0) : above + 1], key=lambda width: abs(weights(width) - wanted))
    return Builder("pruning_lab.models.UNet", {**common, "width": width})


def epochs_to_spend(lab: Experiment, run: Run, same: str, flops: int) -> float:
    """Epochs for a network of so many FLOPs, so that it has the epochs or the compute of base and recoveries.

    Raises:
        LabError: `same` is neither.
    """
    base = lab.training.base
    batches = len(lab.data.loaders(base.seed).train_loader(0))
    spent = [(base.total_steps(batches) / batches, run.history[0]["resources/flops"])]
    spent += [(row.get("cost/recovery_epochs", 0.0), row["resources/flops"]) for row in run.history.rows[1:]]
    if same == "epochs":
        return sum(epochs for epochs, _ in spent)
    if same == "compute":
        return sum(epochs * cost for epochs, cost in spent) / flops
    raise LabError(f"task.same={same} is unknown: use epochs or compute")


def _train_instead(
    lab: Experiment,
    run: Run,
    network: nn.Module,
    same: str,
    called: str,
    origin: Path | None = None,
    builder: Builder | None = None,
) -> dict[str, float]:
    """Train another network as the base was trained, only longer; it is step 1.

    Args:
        origin: folder of the checkpoint that knows which filters of the base the network has; None where it is no part
            of the base.
        builder: how the other network is built, where it is no part of the base.
    """
    other = replace(lab, model=replace(lab.model, builder=builder or lab.model.builder))

    def work(state: RunState) -> dict[str, float]:
        rest(lab, state)
        state.model = lab.training.settings.place(network)
        if origin is None:
            graph = ChannelGraph.trace(network, lab.example())
        else:
            graph = _graph_of_what_is_left(state.graph, origin)
        if graph.layers.keys() != state.graph.layers.keys():
            state.widths.clear()  # Widths over steps are those of layers that all steps have.
        state.graph, state.timed = graph, {}
        epochs = epochs_to_spend(lab, run, same, measure(graph).flops)
        lab.output.reporter.say(f"{called}: {epochs:g} epochs, the {same} of base and recoveries of {run.folder}")
        report = _train_as_base(lab, state, called, epochs)
        state.step, state.ended = 1, same
        finish_step(other, state, validate(other, state) | report)
        return close(other, state, called)

    return to_the_end(lab, work, lambda: begin(lab))


def _graph_of_what_is_left(graph: ChannelGraph, folder: Path) -> ChannelGraph:
    """The graph of a checkpoint's model, from its base's: connections made by hand speak of the base's filters."""
    removed = torch.zeros(len(graph), dtype=torch.bool)
    for name, layer in read_architecture(folder)["layers"].items():
        gone = torch.ones(len(graph.layers[name]), dtype=torch.bool)
        gone[layer["kept"]] = False
        removed[graph.layers[name][gone]] = True
    return graph.without(removed)


def _train_as_base(lab: Experiment, state: RunState, called: str, epochs: float) -> Row:
    part, batches = lab.training, lab.loaders().train_loader
    training = replace(part.base, epochs=epochs, steps=None)
    draft = TrainingDraft(lab.output.folder / f".{called.replace(' ', '_')}{TRAINING}", part.save_every)
    with lab.output.reporter.task(called, training.total_steps(len(batches(0)))) as task:
        report = training.train(
            state.model, batches, loss=part.loss, settings=part.settings, on_batch=progress(task), draft=draft
        )
    return training_costs(report)


def _as_control(name: str, lab: Experiment, run: Run, promise: Promise | None = None) -> Experiment:
    """The experiment, marked in the tracking store, and with another way to choose the model that is kept."""
    tags = {**lab.output.tags, "control": name, "control_of": str(run.folder)}
    validation = lab.pruning.validation
    validation = validation if promise is None else replace(validation, promise=promise)
    return replace(lab, output=replace(lab.output, tags=tags), pruning=replace(lab.pruning, validation=validation))


def _check_base(lab: Experiment, run: Run) -> None:
    here, there = hash_of_base(lab), run.cards.base_hash
    if here != there:
        raise LabError(
            f"{run.folder} started from base {there}, this experiment has base {here}: data, code or settings differ; "
            "do the run again with those of today, or go back to those it had"
        )
