"""A rehearsal on two images before training: score, choose, cut, compensate, save, recover and validate, on copies.

What would end a run after minutes of training ends it here within seconds. Must not know the budget; changes nothing.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.modules import in_mode, random_kept, tensors_in
from pruning_lab.compensation import Before
from pruning_lab.data.batches import Stack
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import check_scores
from pruning_lab.lab.base_model import check_weights
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.patience import told_if_long, watched_pass
from pruning_lab.lab.saving import try_saving
from pruning_lab.resources.counting import measure
from pruning_lab.surgery import cut
from pruning_lab.training.distillation import objective_of
from pruning_lab.training.loop import train

IMAGES = 2
"""Images that each part is tried on; a batch norm needs two in training."""

ABOUT = "rehearsal on two images (check=false leaves it out)"

Batch = tuple[Tensor, Tensor]


def rehearse(lab: Experiment) -> None:
    """Try every part of an experiment on an untrained network.

    Raises:
        LabError: a part does not fit the data or another part, or breaks its contract. Whatever a user's own code
            raises is passed on.
    """
    with random_kept():
        settings = lab.training.settings
        model = settings.place(lab.model.build())
        check_weights(model)
        batches = lab.loaders().score_batches(IMAGES)
        _check_images(batches, lab)
        seconds = _check_takes(model, batches[0][0].to(settings.device), lab.training.longest_pass)
        with told_if_long(lab.output.reporter, ABOUT, seconds) as begins:
            _try_parts(lab, model, batches, begins)


def _try_parts(lab: Experiment, model: nn.Module, batches: Stack, begins: Callable[[str], None]) -> None:
    settings = lab.training.settings
    begins("validation")
    scores = lab.validator().evaluate(model, batches)
    _check_promise(lab.pruning.validation.promise, [f"val/{name}" for name in scores])
    _check_repeats(model, batches[0][0].to(settings.device))
    begins("channel graph")
    graph = ChannelGraph.trace(model, lab.example(), prove=False, connections=lab.model.connections)
    _check_prunable(model, graph)
    base = copy.deepcopy(model)
    begins("importance")
    groups = _chosen(lab, model, graph, batches)
    optimizer = lab.training.recovery.new_optimizer(model)
    compensation = lab.pruning.compensation
    begins("cut")
    uncut = Before.of(model, graph) if compensation.needs_before else None
    cut(model, graph, groups, optimizer)
    compensation(uncut, model, graph, batches)
    try_saving(lab, model, graph)
    begins("recovery")
    objective = objective_of(lab.training.distillation, lab.training.loss, base, model, graph, settings)
    alone = replace(settings, devices=1)
    train(model, lambda epoch: batches, objective=objective, optimizer=optimizer, steps=1, settings=alone)
    lab.validator().evaluate(model, batches)


def _check_images(batches: Sequence[Batch], lab: Experiment) -> None:
    for image, _ in batches:
        if not bool(torch.isfinite(image).all()):
            raise LabError(
                f"data {lab.data.dataset.name}: an image holds NaN or infinity; mend the file, or leave it out"
            )


def _check_takes(model: nn.Module, image: Tensor, longest: float | None) -> float:
    """One pass over an image, so that a model for other channels is told as such, and one that takes too long.

    Returns:
        its seconds.
    """
    try:
        return watched_pass(model, image, longest)
    except RuntimeError as error:
        if "channels" not in str(error):
            raise
        raise LabError(
            f"model {type(model).__name__} does not take images of {image.shape[1]} channels ({first_line(error)}); "
            "build it for as many, or choose the images' channels by data.channels"
        ) from error


def _check_promise(promise: object, measured: Sequence[str]) -> None:
    """A promise that asks for a metric which no validation gives would be found out at the end of the run."""
    metric = getattr(promise, "metric", None)
    if isinstance(metric, str) and metric.startswith("val/") and metric not in measured:
        near = difflib.get_close_matches(metric, measured, n=1) or measured
        raise LabError(f"validation.promise.metric={metric} is not measured; use one of {', '.join(near)}")


def _check_repeats(model: nn.Module, image: Tensor) -> None:
    """Two passes over one image have to agree, or no cut can be proved and no score means anything."""
    with in_mode(model, training=False), torch.no_grad():
        one, other = (list(tensors_in(model(image))) for _ in range(2))
    if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(one, other, strict=True)):
        raise LabError(
            f"model {type(model).__name__} answers the same image in two ways in evaluation mode; switch off what is "
            "random in its forward when self.training is false"
        )


def _check_prunable(model: nn.Module, graph: ChannelGraph) -> None:
    if bool(graph.prunable.any()):
        return
    if not graph.layers:
        raise LabError(f"model {type(model).__name__} has no convolution or linear layer that could be cut")
    layer, why = next(iter(graph.frozen.items()), (next(iter(graph.layers)), "it feeds the model's output"))
    raise LabError(f"no filter of model {type(model).__name__} can be cut; of {layer}: {why}")


def _chosen(lab: Experiment, model: nn.Module, graph: ChannelGraph, batches: Sequence[Batch]) -> Tensor:
    """Groups that a first step would remove, bool [n_groups]; at least the one of the lowest score."""
    importance, before = copy.deepcopy(lab.pruning.importance), copy.deepcopy(model.state_dict())
    scores = check_scores(importance(model, graph, batches), graph, importance)
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor, before[name]):
            raise LabError(f"importance {type(importance).__name__} changes {name} of the model; let it work on a copy")
    original = measure(graph)
    floors = lab.pruning.floors.resolve(model, graph, original)
    choice = lab.pruning.selection(scores, graph, floors, lambda fractions: frozenset({"flops"}), original, measured={})
    if bool(choice.groups.any()):
        return choice.groups
    lowest = torch.zeros(len(graph), dtype=torch.bool)
    lowest[scores.masked_fill(~graph.prunable, torch.inf).argmin()] = True
    return lowest if not graph.emptied(lowest) else torch.zeros_like(lowest)
