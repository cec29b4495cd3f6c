"""Second moments of what readers read, and the weights that they read it with. Knows readers, and no formula.

A reader with more weights per filter than can be inverted, or than images show, is seen tap by tap: the channels'
moments at one place, averaged over the taps of its kernel, as if the taps did not depend on each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.modules import device_of, in_mode
from pruning_lab.compensation.contract import Before
from pruning_lab.compensation.patches import (
    channels_of,
    patches_at,
    sampled_places,
    weight_rows,
    weights_per_filter,
    with_doubles,
)
from pruning_lab.compensation.readers import Reader, readers_of
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, raise_no_images, readers

ROWS_PER_WEIGHT = 2
"""A matrix of second moments from fewer rows says more of the rows than of the reader."""


@dataclass(frozen=True)
class Block:
    """One group of a reader's convolution, or all of a reader without groups.

    Attributes:
        layer: the reader.
        weights: float64 [filters, entries].
        moments: float64 [entries, entries], of what the entries are multiplied with; centered where a reader's output
            can be shifted.
        groups: int64 [entries], the group of the channel that each entry reads, or -1.
        filters: int64 [filters], which filter of the layer each row of weights belongs to; with taps apart, a filter
            has as many rows as taps.
    """

    layer: str
    weights: Tensor
    moments: Tensor
    groups: Tensor
    filters: Tensor


def blocks_of(
    model: nn.Module, graph: ChannelGraph, batches: Batches, places: int, widest: int, seed: int
) -> list[Block]:
    """The blocks of every module that reads a group, in evaluation mode, from one forward pass.

    Args:
        places: of a reader's output, at most, for each image.
        widest: weights per filter, at most, that are seen together.

    Raises:
        LabError: there was no image.
    """
    images = [image for image, _ in batches]
    if not sum(map(len, images)):
        raise_no_images()
    device = device_of(model)
    found, _ = readers_of(Before(model, graph.original), model, graph, images[0][:1].to(device))
    count, ids = sum(map(len, images)), readers(graph)
    watched = [_Watched(reader, places, widest, count, seed) for reader in found if reader.layer in ids]
    handles = [handle for one in watched for handle in one.hooks(model)]
    try:
        with in_mode(model, training=False), torch.no_grad():
            for image in images:
                model(image.to(device))
    finally:
        for handle in handles:
            handle.remove()
    return [block for one in watched for block in one.blocks(model, ids[one.reader.layer])]


class _Watched:
    """A reader, and the sums of what it has read so far."""

    def __init__(self, reader: Reader, places: int, widest: int, images: int, seed: int) -> None:
        self.reader, self.places, self.widest, self.images, self.seed = reader, places, widest, images, seed
        self.rows = 0
        self.apart: bool | None = None
        self.sums: Tensor = torch.zeros(0)
        self.squares: Tensor = torch.zeros(0)

    def hooks(self, model: nn.Module) -> list[Any]:
        return [model.get_submodule(name).register_forward_hook(self._hook()) for name in self.reader.names]

    def _hook(self) -> Any:
        seen = 0

        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            nonlocal seen
            flat = channels_of(module, output)
            places = sampled_places(flat, self.places, self.seed, seen)
            seen += len(flat)
            # The unfolded batch of a window or a sequence counts its parts as images, so fewer of each are enough.
            sides = tuple(output.shape[2:])
            self._add(module, patches_at(module, inputs[0], sides, places), places.shape[1] * self.images)

        return hook

    def _add(self, module: nn.Module, rows: Tensor, expected: int) -> None:
        taps = _taps(module)
        if self.apart is None:
            count = weights_per_filter(module)
            self.apart = taps > 1 and count > min(self.widest, expected // ROWS_PER_WEIGHT)
        if self.apart:
            parts = rows.reshape(*rows.shape[:2], -1, taps)
            rows = parts.permute(0, 3, 1, 2).flatten(0, 1)
        across = with_doubles(rows).double().movedim(0, 2)  # [groups, entries, rows]
        if not self.rows:
            self.sums = across.new_zeros(across.shape[:2])
            self.squares = across.new_zeros(*across.shape[:2], across.shape[1])
        self.sums += across.sum(2)
        self.squares.baddbmm_(across, across.mT)
        self.rows += len(rows)

    def blocks(self, model: nn.Module, ids: Tensor) -> list[Block]:
        if not self.rows:
            return []
        module = model.get_submodule(self.reader.layer)
        weights = with_doubles(weight_rows(module).detach()).double()
        groups, filters, _ = weights.shape
        taps = _taps(module)
        entries = ids.reshape(groups, -1)
        numbers = torch.arange(groups * filters).reshape(groups, filters)
        if self.apart:
            weights = weights.reshape(groups, filters, -1, taps).transpose(2, 3).flatten(1, 2)
            numbers = numbers.repeat_interleave(taps, 1)
        else:
            entries = entries.repeat_interleave(weights.shape[2] // entries.shape[1], 1)
        moments = self.squares / self.rows
        if self.reader.shifts:
            means = self.sums / self.rows
            moments = moments - means.unsqueeze(2) * means.unsqueeze(1)
        moments, weights = moments.cpu(), weights.cpu()
        layer = self.reader.layer
        return [Block(layer, weights[g], moments[g], entries[g], numbers[g]) for g in range(groups)]


def _taps(module: nn.Module) -> int:
    """Places of a kernel."""
    return int(torch.tensor(module.kernel_size).prod()) if isinstance(module, nn.modules.conv._ConvNd) else 1
