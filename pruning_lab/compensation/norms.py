"""Running statistics measured anew: batch norms see what the small network hands them. Knows norms alone.

Source: Li et al., "EagleEye: Fast sub-net evaluation for efficient neural network pruning" (2020), "adaptive batch
normalization".
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pruning_lab.common.modules import in_mode
from pruning_lab.compensation.contract import Batches, Before, Report
from pruning_lab.compensation.sampling import Sampling
from pruning_lab.graph import ChannelGraph


@dataclass(frozen=True)
class Norms:
    """Measure the running mean and variance of every batch norm anew, as the mean over batches of theirs.

    Args:
        images: training images to look at, at most.
    """

    images: int = 64

    def __post_init__(self) -> None:
        Sampling(images=self.images)

    @property
    def needs_before(self) -> bool:
        return False

    @torch.no_grad()
    def __call__(self, before: Before | None, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Report:
        started = time.perf_counter()
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
        images = Sampling(images=self.images).images_of(batches, graph, model) if norms else []
        with in_mode(model, training=False), _measuring(norms):
            for image in images:
                model(image)
        seen = sum(map(len, images))
        return Report(passes=int(bool(norms)), images=seen, seconds=time.perf_counter() - started)


@contextmanager
def _measuring(norms: list[_BatchNorm]) -> Iterator[None]:
    """Batch norms that forget what they know and average over all that they see; all else stays in evaluation mode."""
    momenta = [norm.momentum for norm in norms]
    counts = [None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone() for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.training = True
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)
