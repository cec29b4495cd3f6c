"""All that a run needs to go on, in one object. Knows no config and no tracking."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.optim import Optimizer

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Importance
from pruning_lab.lab.output.history import History, Row
from pruning_lab.lab.snapshots import Snapshots
from pruning_lab.resources.counting import Resources
from pruning_lab.selection.floors import LayerFloors
from pruning_lab.training.compute import random_state
from pruning_lab.training.progress import Progress


@dataclass
class RunState:
    """A run between two steps, or within a recovery. The loop advances it; its experiment never changes.

    Attributes:
        base: the trained, unpruned model, on the CPU; never changed.
        base_hash: what identifies it.
        original: its resources.
        importance: the experiment's method, with what it remembers of earlier steps.
        step: pruning steps done.
        epoch: epochs trained since the base, so that every recovery sees other shuffles.
        widths: layer -> filters, after each step; the base's first.
        preference: how much each resource matters in the ranking of the last step.
        unmet: resources that are still above the budget after the last step.
        timed: columns of latency of the network as it is; empty where it was not timed.
        ended: why the run ended: `budget`, `floors`, `max_steps`, or an error's text; for a control, which allowance it
            has spent: `epochs`, `compute` or `recoveries`. Empty while it goes on.
        recovered: whether the final recovery is done.
        half: of a step that is cut and not recovered yet, all that is known; empty between two steps.
        training: how far a recovery was when the run was cut short; None once it goes on.
        random: the state of all generators after the last step.
        scores: what validation found right after the last cut; empty where it is not known, and not saved.
        base_test: the base's test scores, where the run of another budget has found them; not saved.
    """

    model: nn.Module
    graph: ChannelGraph
    optimizer: Optimizer
    base: nn.Module
    base_hash: str
    original: Resources
    floors: LayerFloors
    importance: Importance
    snapshots: Snapshots[ChannelGraph]
    history: History = field(default_factory=History)
    step: int = 0
    epoch: int = 0
    widths: list[dict[str, int]] = field(default_factory=list)
    preference: dict[str, float] = field(default_factory=dict)
    unmet: frozenset[str] = frozenset()
    timed: Row = field(default_factory=dict)
    ended: str = ""
    recovered: bool = False
    half: Row = field(default_factory=dict)
    training: Progress | None = None
    random: dict[str, Any] = field(default_factory=random_state)
    scores: Row = field(default_factory=dict)
    base_test: Row = field(default_factory=dict)

    def fork(self) -> RunState:
        """A copy that goes its own way; the two share what never changes, the base and the snapshots."""
        shared = {id(thing): thing for thing in (self.base, self.original, *self.snapshots)}
        return copy.deepcopy(self, shared)
