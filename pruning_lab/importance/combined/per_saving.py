"""Scores per what a group costs. Knows resources."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, Importance
from pruning_lab.resources.counting import measure, savings


@dataclass(frozen=True)
class PerSaving:
    """Another method's score, divided by the share of the model's resources that the group's removal would save.

    Args:
        method: gives the scores, which must not be negative.
        flops: how much FLOPs matter.
        weights: how much weights matter.
    """

    method: Importance
    flops: float = 1.0
    weights: float = 0.0

    def __post_init__(self) -> None:
        if min(self.flops, self.weights) < 0 or self.flops + self.weights <= 0:
            raise LabError("importance.flops and importance.weights must not be negative, and one must be positive")

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        scores = self.method(model, graph, batches).double()
        if bool((scores < 0).any()):
            name = type(self.method).__name__
            raise LabError(f"importance PerSaving got negative scores from {name}; wrap it in Normalized with by=rank")
        saved, whole = savings(graph), measure(graph)
        share = self.flops * saved.flops.double() / max(whole.flops, 1)
        share = share + self.weights * saved.weights.double() / max(whole.weights, 1)
        return (scores / share.clamp_min(torch.finfo(torch.float32).eps)).float()
