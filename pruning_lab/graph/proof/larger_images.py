"""Whether a graph that was read at one size of image holds at another. Knows readings, and no operator.

A view can split channels over the sides of an image by chance of its size. What such a reading says is right at that
size alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pruning_lab.graph.build import read_graph
from pruning_lab.graph.structure.channels import Channels
from pruning_lab.graph.tracing.recording import TraceError


def holds_when_larger(model: nn.Module, graph: Channels, inputs: tuple[Tensor, ...]) -> bool:
    """Whether a graph that was just read says the same of larger images; True where the model takes none."""
    try:
        other, _ = read_graph(model, tuple(_larger(item) for item in inputs), split=graph.structure.split)
    except TraceError:
        return True
    return _rows(graph) == _rows(other) and torch.equal(graph.prunable, other.prunable)


def _rows(graph: Channels) -> list[tuple[str, object, list[int]]]:
    """What each layer gives out and reads, as group ids."""
    given = [(name, 0, row.tolist()) for name, row in graph.layers.items()]
    return [*given, *((one.layer, one.tensors, one.channels.tolist()) for one in graph.consumers)]


def _larger(image: Tensor) -> Tensor:
    """An image with longer sides, by half where these can still be halved as often, else doubled; else as it is."""
    if image.dim() < 4 or not image.is_floating_point():
        return image
    sides = [side * 3 // 2 if side % _OFTEN_HALVED == 0 else side * 2 for side in image.shape[2:]]
    larger = image.repeat(1, 1, *[2] * (image.dim() - 2))
    for dim, side in enumerate(sides, start=2):
        larger = larger.narrow(dim, 0, side)
    return larger.contiguous()


_OFTEN_HALVED = 64
"""Half of what this divides goes through five halvings, as most networks have."""
