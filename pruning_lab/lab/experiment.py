"""The five parts that an experiment is made of, as plain objects. A config builds them, or a notebook does by hand.

What needs one part is a method of that part; what needs two is a method of the experiment. Must not know what is done
with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.checkpoint import Builder
from pruning_lab.compensation import Compensation, NoCompensation
from pruning_lab.data import Augments, Loaders, SegmentationData
from pruning_lab.graph.tracing.connections import Connections
from pruning_lab.importance import Importance
from pruning_lab.lab.output.console import QuietReporter, Reporter
from pruning_lab.lab.output.history import Row
from pruning_lab.lab.output.tracker import NoTracker, Opening, Sweep, Tracker
from pruning_lab.lab.validation import Validation, Validator
from pruning_lab.resources.latency import LatencyPlan, Target
from pruning_lab.selection.floors import Floors
from pruning_lab.selection.selection import Selection
from pruning_lab.selection.stopping import StopRule
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.distillation import Distillation
from pruning_lab.training.losses import Loss
from pruning_lab.training.progress import check_pace
from pruning_lab.training.recovery import BaseTraining, Recovery


@dataclass(frozen=True)
class ModelPart:
    """The network that is pruned.

    Attributes:
        build: makes it, untrained.
        builder: how a checkpoint builds it again.
        connections: who reads which filter, by the user's word, see `graph.connections`; None finds all by itself.
    """

    build: Callable[[], nn.Module]
    builder: Builder
    connections: Connections | None = None


@dataclass(frozen=True)
class DataPart:
    """The images, and how batches are made of them.

    Attributes:
        dataset: images and masks of the three splits.
        augmentation: what training images go through.
        make_loaders: (data, augmentation, seed) -> batches.
    """

    dataset: SegmentationData
    augmentation: Augments
    make_loaders: Callable[..., Loaders]
    _loaders: dict[int, Loaders] = field(default_factory=dict, init=False, repr=False, compare=False)

    def loaders(self, seed: int) -> Loaders:
        """Batches whose order and augmentation follow from a seed; made once for each."""
        if seed not in self._loaders:
            self._loaders[seed] = self.make_loaders(data=self.dataset, augmentation=self.augmentation, seed=seed)
        return self._loaders[seed]

    def example(self, batch: int = 1) -> Tensor:
        """Zeros of an input's size, float32 [batch, C, H, W], on the CPU."""
        image, _ = self.dataset.train[0]
        return torch.zeros(batch, self.dataset.channels, *image.shape[:2])


@dataclass(frozen=True)
class TrainingPart:
    """How networks are trained: the base, and the pruned one after each cut.

    Attributes:
        base: how much training the base gets, and with what.
        recovery: the same for the training after a cut.
        distillation: what recovery learns from the base; None: nothing.
        settings: where and how precisely every network runs.
        bases: folder of trained bases, None keeps none.
        base_recipe: plain data that, with the data's fingerprint, determines the trained base.
        seed: of all that a run draws after its base.
        deterministic: ask torch for the deterministic form of every operation.
        save_every: optimizer steps between two saves within a training; `auto`: as often as costs 2 % of its time at
            most; None: never.
        longest_pass: seconds that a pass over one image may take; None: any.
        threads: (what an earlier process took, or None) -> what to say, if anything; is called before each step and
            sets the number of threads.
    """

    loss: Loss
    base: BaseTraining
    recovery: Recovery
    distillation: Distillation | None = None
    settings: ComputeSettings = field(default_factory=ComputeSettings)
    bases: Path | None = None
    base_recipe: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    deterministic: bool = False
    save_every: int | str | None = "auto"
    longest_pass: float | None = 60.0
    threads: Callable[..., str] = field(default=lambda earlier=None: "")

    def __post_init__(self) -> None:
        check_pace(self.save_every)


@dataclass(frozen=True)
class PruningPart:
    """What is removed in a step, when the run ends, and which of its models is kept.

    Attributes:
        importance: scores the groups.
        selection: chooses by the scores.
        floors: what must stay of each layer.
        stop: tells which resources are still above the budget.
        compensation: repairs the network after each cut, before recovery.
        validation: how models are judged, and which one is kept.
        latency: when and how the model of a step is timed against the base.
        target: where the network is going to run, for all that is told in milliseconds; None predicts no latency.
        max_steps: pruning steps at most, None for as many as the budget takes.
        verify: compare the first cut with the masked model on real images.
        check: rehearse every part on two images before the base is trained.
        timings: hash of a base -> what its latency is told with, see `lab.timing`; filled when it is first asked for.
    """

    importance: Importance
    selection: Selection
    floors: Floors
    stop: StopRule
    validation: Validation
    compensation: Compensation = field(default_factory=NoCompensation)
    latency: LatencyPlan = field(default_factory=LatencyPlan)
    target: Target | None = None
    max_steps: int | None = None
    verify: bool = True
    check: bool = True
    timings: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)


@dataclass(frozen=True)
class OutputPart:
    """Where the run leaves what it found, and to whom it speaks.

    Attributes:
        folder: of this run.
        root: folder of all runs.
        tracker: the tracking store.
        reporter: the console.
        parameters, tags: what the tracking store is told of this run.
        sweep: what this run is a job of; None for one of its own.
        judge: is shown the history's last row before each step, and raises GivenUpError to end the run there.
        pictures: whether figures and a page are drawn.
    """

    folder: Path
    root: Path
    tracker: Tracker = field(default_factory=NoTracker)
    reporter: Reporter = field(default_factory=QuietReporter)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    sweep: Sweep | None = None
    judge: Callable[[Row], None] | None = None
    pictures: bool = True

    @property
    def opening(self) -> Opening:
        """What the tracking store is told when the run opens."""
        return Opening(self.folder, self.root, self.parameters, self.tags, self.sweep)

    @property
    def commit(self) -> str:
        """The code's commit, as far as the tags tell it."""
        return self.tags.get("git_commit", "unknown")


@dataclass(frozen=True)
class Experiment:
    """Everything `lab.prune` needs. It is never changed: what changes while a run goes on is its `RunState`."""

    model: ModelPart
    data: DataPart
    training: TrainingPart
    pruning: PruningPart
    output: OutputPart

    @property
    def about(self) -> str:
        """Data, model, method and seed in a line, as figures name a run: `eyes, unet, ipad, seed 1`."""
        told, tags = self.output.parameters, self.output.tags
        model = str(told.get("model", self.model.builder.target)).rpartition(".")[2]
        method = str(told.get("importance", type(self.pruning.importance).__name__)).rpartition(".")[2]
        control = tags.get("control", "")
        method = f"{control} of {method}" if control not in ("", method) else method
        return f"{self.data.dataset.name}, {model}, {method}, seed {self.training.seed}"

    def loaders(self) -> Loaders:
        """Batches by the run's own seed."""
        return self.data.loaders(self.training.seed)

    def example(self, batch: int = 1) -> Tensor:
        """Zeros of an input's size, float32 [batch, C, H, W], on the device of the run."""
        return self.data.example(batch).to(self.training.settings.device)

    def target(self) -> Target:
        """Where the network is going to run, with what was left open filled in from this run."""
        settings, size = self.training.settings, self.data.example().shape[2:]
        device = str(settings.device)
        return (self.pruning.target or Target()).filled(
            device, settings.precision, settings.channels_last, size, torch.get_num_threads()
        )

    def validator(self) -> Validator:
        """Measures models on this experiment's data."""
        dataset = self.data.dataset
        return Validator(
            len(dataset.class_names),
            dataset.class_names,
            loss=self.training.loss,
            settings=self.training.settings,
            ignore_index=dataset.ignore_index,
            metrics=self.pruning.validation.metrics,
        )
