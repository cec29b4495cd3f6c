"""The parts that one experiment is made of, as plain objects. A config builds them, or a notebook does by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.checkpoint.folder import Builder
from pruning_lab.compensation import Compensation, NoCompensation
from pruning_lab.data import Augments, Loaders, SegmentationData
from pruning_lab.graph.tracing.connections import Connections
from pruning_lab.importance import Importance
from pruning_lab.lab.output.console import QuietReporter, Reporter
from pruning_lab.lab.output.tracker import NoTracker, Tracker
from pruning_lab.lab.validation import Validation, Validator
from pruning_lab.resources.latency import LatencyPlan
from pruning_lab.selection.floors import Floors
from pruning_lab.selection.selection import Selection
from pruning_lab.selection.stopping import StopRule
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.distillation import Distillation
from pruning_lab.training.losses import Loss
from pruning_lab.training.recovery import BaseTraining, Recovery


@dataclass(frozen=True)
class Experiment:
    """Everything `lab.prune` needs.

    Attributes:
        build_model: makes the untrained network.
        builder: how a checkpoint builds it again.
        make_loaders: (data, augmentation, seed) -> batches.
        compensation: repairs the network after each cut, before recovery.
        distillation: what recovery learns from the base; None: nothing.
        folder: of this run; `output_root` is that of all runs.
        base_cache: folder of trained bases, None keeps none.
        base_recipe: plain data that, with the data's fingerprint, determines the trained base.
        verify: compare the first cut with the masked model on real images.
        connections: who reads which filter, by the user's word, see `graph.connections`; None finds all by itself.
        max_steps: pruning steps at most, None for as many as the budget takes.
        latency: when and how the model of a step is timed against the base.
        parameters, tags: what the tracking store is told of this run.
    """

    build_model: Callable[[], nn.Module]
    builder: Builder
    data: SegmentationData
    augmentation: Augments
    make_loaders: Callable[..., Loaders]
    loss: Loss
    base: BaseTraining
    importance: Importance
    selection: Selection
    floors: Floors
    stop: StopRule
    recovery: Recovery
    validation: Validation
    folder: Path
    output_root: Path
    distillation: Distillation | None = None
    compensation: Compensation = field(default_factory=NoCompensation)
    base_cache: Path | None = None
    base_recipe: Mapping[str, Any] = field(default_factory=dict)
    tracker: Tracker = field(default_factory=NoTracker)
    reporter: Reporter = field(default_factory=QuietReporter)
    settings: ComputeSettings = field(default_factory=ComputeSettings)
    seed: int = 0
    deterministic: bool = False
    verify: bool = True
    connections: Connections | None = None
    max_steps: int | None = None
    latency: LatencyPlan = field(default_factory=LatencyPlan)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    _loaders: dict[int, Loaders] = field(default_factory=dict, init=False, repr=False, compare=False)

    def loaders(self, seed: int | None = None) -> Loaders:
        """Batches whose order and augmentation follow from a seed, by default the run's; made once for each seed."""
        seed = self.seed if seed is None else seed
        if seed not in self._loaders:
            self._loaders[seed] = self.make_loaders(data=self.data, augmentation=self.augmentation, seed=seed)
        return self._loaders[seed]

    def validator(self) -> Validator:
        """Measures models on this experiment's data."""
        return Validator(
            len(self.data.class_names),
            self.data.class_names,
            loss=self.loss,
            settings=self.settings,
            ignore_index=self.data.ignore_index,
            metrics=self.validation.metrics,
        )

    def example(self, batch: int = 1) -> Tensor:
        """Zeros of an input's size, float32 [batch, C, H, W], on the device of the run."""
        image, _ = self.data.train[0]
        return torch.zeros(batch, self.data.channels, *image.shape[:2], device=self.settings.device)
