"""No compensation: what a cut leaves stays bit for bit. Knows nothing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from pruning_lab.compensation.contract import Batches, Before, Report
from pruning_lab.graph import ChannelGraph


@dataclass(frozen=True)
class NoCompensation:
    """Change nothing."""

    @property
    def needs_before(self) -> bool:
        return False

    def __call__(self, before: Before | None, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Report:
        return Report()
