"""How much of the images a compensation looks at. Knows batches and the graph's account of memory; no formula."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import device_of
from pruning_lab.compensation.contract import Batches
from pruning_lab.graph import ChannelGraph

ROWS_PER_WEIGHT = 6
MORE_ROWS = 1024
"""Six rows for each unknown, and some more for readers of few weights: further ones change a solution little."""

SOLVE_WORK = 6e9
"""Multiply-adds for the second moments of a reader's rows, about: readers of 1,200 weights and more get fewer rows."""

FEWEST = 4
"""Images that are looked at however large a network is."""


@dataclass(frozen=True)
class Sampling:
    """How much is looked at.

    Args:
        images: at most.
        samples: places of a reader's output at most, over all images; fewer for readers of few weights.
        work: billions of multiply-adds that the forward passes over the images may take; None for any number.
        memory_mb: for the images' activations in both networks, and for the rows of a reader, each.
        seed: draws the places.
    """

    images: int = 48
    samples: int = 4096
    memory_mb: int = 1024
    seed: int = 0
    work: float | None = None

    def __post_init__(self) -> None:
        if self.work is not None and not self.work > 0:
            raise LabError(f"compensation.work={self.work} must be above 0, or null")
        for key in ("images", "samples", "memory_mb"):
            if getattr(self, key) < 1:
                raise LabError(f"compensation.{key}={getattr(self, key)} must be at least 1")

    def images_of(self, batches: Batches, graph: ChannelGraph, model: nn.Module) -> list[Tensor]:
        """The images that are looked at, in their batches, on the model's device.

        Raises:
            LabError: there is none.
        """
        device, dtype = device_of(model), next((p.dtype for p in model.parameters()), torch.float32)
        left = self.images
        found: list[Tensor] = []
        for image, _ in batches:
            left = min(left, self._fitting(graph, image)) if not found else left
            part = image[:left].to(device)
            found.append(part.to(dtype) if part.is_floating_point() else part)
            left -= len(part)
            if left <= 0:
                return found
        if not found:
            raise LabError("compensation got no images to look at; raise loader.score_images, or set compensation=none")
        return found

    def _fitting(self, graph: ChannelGraph, image: Tensor) -> int:
        """How many such images both networks can hold at once; all of them where the graph does not know their size."""
        if graph.memory is None:
            return self.images
        return max(1, int(self.memory_mb * 2**20 / (2 * max(graph.memory.peak_bytes(), 1))))

    def affordable(self, images: list[Tensor], macs: float) -> list[Tensor]:
        """As many of the images as the work allows, but no fewer than a few.

        Args:
            macs: multiply-adds of all forward passes over one image.
        """
        left = self.images if self.work is None else max(FEWEST, int(self.work * 1e9 / max(macs, 1.0)))
        kept = []
        for image in images:
            if left > 0:
                kept.append(image[:left])
            left -= len(image)
        return kept

    def rows(self, weights: int, itemsize: int) -> int:
        """How many rows of so many weights are kept."""
        enough = min(self.samples, ROWS_PER_WEIGHT * weights + MORE_ROWS)
        # Moments are those of the weights, or those of the rows where these are fewer.
        solvable = max(SOLVE_WORK / weights**2, min(weights, (SOLVE_WORK / weights) ** 0.5))
        return max(1, min(enough, int(solvable), int(self.memory_mb * 2**20 / (weights * itemsize))))
