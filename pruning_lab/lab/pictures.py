"""The pictures of a run that is at its end, from its state. Must not know how the run got there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.evaluation import counts_of
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output import figures
from pruning_lab.lab.output.base_losses import read_losses
from pruning_lab.lab.output.samples import predictions
from pruning_lab.lab.output.width_figure import layer_widths
from pruning_lab.lab.snapshots import Snapshot
from pruning_lab.lab.state import RunState

SHOWN = 4
"""Validation images in the picture of predictions."""


def draw(lab: Experiment, state: RunState, chosen: Snapshot[ChannelGraph]) -> list[Path]:
    """Draw every picture of the run into its folder `figures`, each with the run's name on it; returns their paths."""
    folder, about = lab.output.folder / "figures", lab.about
    losses = read_losses(lab.output.folder)
    floors, frozen = filter_floors(state), frozen_layers(state.graph)
    paths = [
        figures.score_over_steps(state.history, folder / "score_over_steps.png", about),
        figures.iou_against_flops(state.history, folder / "iou_against_flops.png", about),
        figures.iou_of_classes(state.history, folder / "iou_of_classes.png", about),
        figures.base_training(losses, folder / "base_training.png", about) if losses else None,
        layer_widths(state.widths, folder / "layer_widths.png", about, floors, frozen),
        _draw_predictions(lab, state.base, chosen.model, folder / "predictions.png"),
    ]
    return [path for path in paths if path is not None]


def filter_floors(state: RunState) -> dict[str, float]:
    """Layer -> filters that must stay."""
    return {layer: least for (kind, layer), least in state.floors.least.items() if kind == "filters"}


def frozen_layers(graph: ChannelGraph) -> dict[str, str]:
    """Layer -> `frozen` where none of its filters can be cut, `in part frozen` where some can't."""
    return {
        layer: "in part frozen" if bool(graph.prunable[graph.layers[layer]].any()) else "frozen"
        for layer in graph.layers
        if not bool(graph.prunable[graph.layers[layer]].all())
    }


def _draw_predictions(lab: Experiment, base: nn.Module, pruned: nn.Module, path: Path) -> Path:
    data = lab.data.dataset
    count = min(SHOWN, len(data.val))
    images, masks = zip(*(data.val[index] for index in range(count)), strict=True)
    batch = next(iter(lab.loaders().eval_loader("val")))[0][:count]
    before, after = (list(_predict(lab, model, batch).numpy()) for model in (base, pruned))

    def iou(place: int, found: list[Any]) -> float:
        return counts_of(masks[place], found[place], len(data.class_names), data.ignore_index).means()["iou"]

    return predictions(
        images,
        masks,
        before,
        after,
        data.class_names,
        data.ignore_index,
        path,
        [(iou(place, before), iou(place, after)) for place in range(count)],
        lab.about,
    )


@torch.no_grad()
def _predict(lab: Experiment, model: nn.Module, images: Tensor) -> Tensor:
    """Class indices, uint8 [N, H, W], on the CPU."""
    lab.training.settings.place(model).eval()
    logits = lab.training.settings.logits(model, images.to(lab.training.settings.device))
    return logits.argmax(1).to(torch.uint8).cpu()
