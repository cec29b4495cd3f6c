"""How much training the base, each cut and the end get, and with what. Must not know how pruning works."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.drafts import TrainingDraft
from pruning_lab.training.loop import LoaderForEpoch, Objective, OnBatch, TaskLoss, TrainReport, total_steps, train
from pruning_lab.training.losses import Loss
from pruning_lab.training.progress import Keeper, Progress
from pruning_lab.training.schedules import SchedulerFactory, constant, make_scheduler

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class BaseTraining:
    """How the base is trained: `epochs`, or `steps` when given.

    `reuse` says whether a kept base may be taken, and this one be kept; `seed` draws its first weights and orders its
    data, apart from the run's own seed, so that runs of several seeds share one base. Both are for the caller to obey.
    """

    optimizer: OptimizerFactory
    scheduler: SchedulerFactory = constant
    epochs: float | None = 30
    steps: int | None = None
    reuse: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        _check_training("base", self.optimizer, self.scheduler, self.epochs, self.steps)

    def total_steps(self, batches_per_epoch: int) -> int:
        """Optimizer steps that `train` will take."""
        return total_steps(self.epochs, self.steps, batches_per_epoch)

    def train(
        self,
        model: nn.Module,
        loader_for_epoch: LoaderForEpoch,
        *,
        loss: Loss,
        settings: ComputeSettings | None = None,
        on_batch: OnBatch | None = None,
        draft: TrainingDraft | None = None,
    ) -> TrainReport:
        """Trains the model in place, from epoch 0. Arguments and errors are those of `training.train`.

        Args:
            draft: where the training is saved while it goes on, and goes on from.
        """
        settings = settings or ComputeSettings()
        # Placed first, so that the optimizer's memory is taken up where its weights are.
        optimizer = self.optimizer(settings.place(model).parameters())
        return train(
            model,
            loader_for_epoch,
            objective=TaskLoss(loss, settings),
            optimizer=optimizer,
            start=None if draft is None else draft.take_up(model, optimizer),
            keeper=None if draft is None else draft.keeper(model, optimizer),
            scheduler=self.scheduler,
            epochs=self.epochs,
            steps=self.steps,
            settings=settings,
            on_batch=on_batch,
        )


_OWN_RATE = "own_lr"
"""Key of an optimizer's group while a recovery runs: the rate that it has outside, which a saved state keeps."""


@dataclass(frozen=True)
class Recovery:
    """How the network is healed after each cut, and once more at the end.

    `epochs`, or `steps` when given, are spent after every cut, `final_epochs` after the last one. Every
    recovery starts its schedule anew from the optimizer's own learning rate, the final one from
    `final_learning_rate` where that is given. `optimizer_state` says whether
    the optimizer's memory (moments, step counts) lives on from one recovery to the next (`keep`) or is
    emptied before each (`reset`). `repaired_rate` is the share of the learning rate after a cut that a compensation has
    repaired: Adam's steps are as large as its rate, whatever there is to mend, and undo part of the repair.
    """

    optimizer: OptimizerFactory
    scheduler: SchedulerFactory = constant
    epochs: float | None = 1
    steps: int | None = None
    final_epochs: float = 0
    final_learning_rate: float | None = None
    optimizer_state: str = "keep"
    repaired_rate: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.repaired_rate <= 1:
            raise LabError(f"recovery.repaired_rate={self.repaired_rate} must be above 0, and 1 at most")
        if self.optimizer_state not in ("keep", "reset"):
            raise LabError(f"recovery.optimizer_state={self.optimizer_state} is unknown: use keep or reset")
        _check_training("recovery", self.optimizer, self.scheduler, self.epochs, self.steps)
        if not 0 <= self.final_epochs < math.inf:
            raise LabError(f"recovery.final_epochs={self.final_epochs} must be a number that is not negative")
        if self.final_learning_rate is not None and not 0 < self.final_learning_rate < math.inf:
            raise LabError(f"recovery.final_learning_rate={self.final_learning_rate} must be above 0, or null")

    def new_optimizer(self, model: nn.Module) -> Optimizer:
        """The one optimizer of a run, which every `heal` goes on with."""
        return self.optimizer(model.parameters())

    def total_steps(self, batches_per_epoch: int, *, final: bool = False) -> int:
        """Optimizer steps that one `heal` will take."""
        return total_steps(*self._length(final), batches_per_epoch)

    def heal(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loader_for_epoch: LoaderForEpoch,
        *,
        objective: Objective,
        final: bool = False,
        repaired: bool = False,
        first_epoch: int = 0,
        settings: ComputeSettings | None = None,
        on_batch: OnBatch | None = None,
        start: Progress | None = None,
        keeper: Keeper | None = None,
    ) -> TrainReport:
        """Trains model and optimizer in place. Arguments and errors are those of `training.train`.

        Args:
            final: it is the long one at the end.
            repaired: a compensation has repaired what the cut did.
        """
        if start is None:
            self._prepare(optimizer, final, repaired)
        epochs, steps = self._length(final)
        report = train(
            model,
            loader_for_epoch,
            objective=objective,
            optimizer=optimizer,
            scheduler=self.scheduler,
            epochs=epochs,
            steps=steps,
            first_epoch=first_epoch,
            settings=settings,
            on_batch=on_batch,
            start=start,
            keeper=keeper,
        )
        for group in optimizer.param_groups:
            group["initial_lr"] = group.pop(_OWN_RATE, group["lr"])  # where the next recovery starts from
        return report

    def _prepare(self, optimizer: Optimizer, final: bool, repaired: bool) -> None:
        rewind(optimizer)
        for group in optimizer.param_groups:
            group[_OWN_RATE] = group["lr"]
            if final and self.final_learning_rate is not None:
                group["lr"] = self.final_learning_rate
            elif repaired and not final:
                group["lr"] *= self.repaired_rate
        if self.optimizer_state == "reset":
            optimizer.state.clear()

    def _length(self, final: bool) -> tuple[float | None, int | None]:
        return (self.final_epochs, None) if final else (self.epochs, self.steps)


def _check_training(
    key: str, optimizer: OptimizerFactory, scheduler: SchedulerFactory, epochs: float | None, steps: int | None
) -> None:
    """Try out what a training is made of on one weight, so that an impossible setting is said before any training.

    Raises:
        LabError: naming the key.
    """
    try:
        made = optimizer([nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError) as error:
        settings = ", ".join(f"{key}.optimizer.{name}={value}" for name, value in _settings(optimizer).items())
        raise LabError(f"{key}.optimizer: {first_line(error)}; correct its settings, {settings}") from error
    if not math.isfinite(made.param_groups[0]["lr"]):
        raise LabError(f"{key}.optimizer.lr={made.param_groups[0]['lr']} must be finite")
    try:
        make_scheduler(scheduler, made, total_steps=2)
        total_steps(epochs, steps, batches_per_epoch=1)
    except LabError as error:
        raise LabError(f"{key}.{error}") from error
    except (TypeError, ValueError) as error:
        raise LabError(f"{key}.scheduler: {first_line(error)}; correct its settings") from error


def _settings(factory: Callable[..., Any]) -> Mapping[str, Any]:
    """What a partial has been given already."""
    return getattr(factory, "keywords", {})


def rewind(optimizer: Optimizer) -> None:
    """Takes the learning rates back to where the last schedule started; torch keeps them as `initial_lr`."""
    for group in optimizer.param_groups:
        group["lr"] = group.pop("initial_lr", group["lr"])
