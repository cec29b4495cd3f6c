"""Statistics of what is read: running means per channel at every consumer, then per group. Knows no formula."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.activations.observe import observe_inputs, observe_reads
from pruning_lab.importance.contract import Batches, over_ids, readers

Statistic = Callable[[str, Tensor], Tensor]
"""(reading layer, activation [N, channels, *sides]) -> one number per image and channel, [N, channels]."""


def mean_of_reads(model: nn.Module, graph: ChannelGraph, batches: Batches, statistic: Statistic) -> Tensor:
    """Mean of a statistic over images, then over the places where a group is read: float32 [n_groups].

    Memory: one number per channel that is read. Groups that no module reads get 0.
    """
    sums: dict[str, Tensor] = {}
    images: dict[str, int] = {}

    def observe(layer: str, activation: Tensor) -> None:
        # It stays where the model runs until all is added up: a GPU would stop and wait at each layer.
        found = statistic(layer, activation).double().sum(0)
        sums[layer] = sums[layer] + found if layer in sums else found
        images[layer] = images.get(layer, 0) + len(activation)

    observe_reads(model, graph, batches, observe)
    ids = readers(graph)
    means = [sums[layer] / images[layer] for layer in sums]
    if not means:
        return torch.zeros(len(graph))
    return over_ids(torch.cat([ids[layer] for layer in sums]), torch.cat(means).cpu(), len(graph), "mean").float()


def activity_of_reads(model: nn.Module, graph: ChannelGraph, batches: Batches) -> dict[str, Tensor]:
    """Standard deviation over images and places of every channel that a layer reads: layer -> float32 [in_channels].

    Layers that run channel by channel are among them, although they read no group that can leave without them.
    """
    sums: dict[str, list[Tensor]] = {}

    def observe(layer: str, activation: Tensor) -> None:
        rows = activation.double().movedim(1, 0).flatten(1)  # [channels, images x places]
        parts = [rows.sum(1).cpu(), rows.square().sum(1).cpu(), torch.tensor(float(rows.shape[1]))]
        sums[layer] = [a + b for a, b in zip(sums[layer], parts, strict=True)] if layer in sums else parts

    observe_inputs(model, list(graph.layers), batches, observe)
    return {
        layer: (squares / count - (total / count).square()).clamp(min=0).sqrt().float()
        for layer, (total, squares, count) in sums.items()
    }
