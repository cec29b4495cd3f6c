"""One training of a network, batch after batch. Must not know what it is for, nor config, nor tracking."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pruning_lab.common.errors import LabError
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.losses import Loss
from pruning_lab.training.schedules import SchedulerFactory, make_scheduler
from pruning_lab.training.stepping import NonFiniteError, Objective, Trainee, stepper_for

LoaderForEpoch = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
OnBatch = Callable[[float], None]


@runtime_checkable
class GoesOn(Protocol):
    """An epoch whose loader can run on into the next one without a stop."""

    def onward(self, count: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """`count` batches on the device: this epoch's, and then those of the epochs after it."""


class NonFiniteLossError(LabError):
    """The loss or its gradient is no longer a number. The model is as it was before the batch that failed."""


@dataclass(frozen=True)
class TaskLoss:
    """The plain objective: a loss of the model's logits and the mask."""

    loss: Loss
    settings: ComputeSettings = field(default_factory=ComputeSettings)

    def __call__(self, model: nn.Module, image: Tensor, mask: Tensor) -> Tensor:
        return self.loss(self.settings.logits(model, image), mask)


@dataclass(frozen=True)
class TrainReport:
    """What one training spent and reached. `mean_loss` is NaN when no step was taken."""

    epochs: float
    steps: int
    images: int
    seconds: float
    mean_loss: float
    learning_rate_start: float
    learning_rate_end: float


def total_steps(epochs: float | None, steps: int | None, batches_per_epoch: int) -> int:
    """Optimizer steps in a training; `steps`, when given, stands above `epochs`, which may be a fraction.

    Raises LabError when neither is given or the one that counts is negative or infinite.
    """
    if steps is not None:
        if steps < 0:
            raise LabError(f"steps={steps} must not be negative")
        return steps
    if epochs is None:
        raise LabError("a training needs a length: set epochs or steps")
    if not 0 <= epochs < math.inf:
        raise LabError(f"epochs={epochs} must be a number that is not negative")
    # 1.1 epochs of 10 batches are 11 steps, and not the 12 that the product's last bit would make.
    return math.ceil(round(epochs * batches_per_epoch, 6))


def train(
    model: nn.Module,
    loader_for_epoch: LoaderForEpoch,
    *,
    objective: Objective,
    optimizer: Optimizer,
    scheduler: SchedulerFactory | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    first_epoch: int = 0,
    settings: ComputeSettings | None = None,
    on_batch: OnBatch | None = None,
) -> TrainReport:
    """Trains the model in place and leaves it in training mode, on the device of the settings.

    Args:
        loader_for_epoch: epoch number -> sized iterable of (image float [N, C, H, W], mask int64 [N, H, W]).
        objective: what is made small; `TaskLoss` where only the logits and the mask count.
        scheduler: see `schedules.make_scheduler`; None keeps the optimizer's rate.
        epochs, steps: the length, see `total_steps`.
        first_epoch: number of the first epoch, so that each training of a run sees other shuffles.
        on_batch: called with the loss after each step.

    Raises:
        NonFiniteLossError: before the step that would have spoilt the weights.
        LabError: when there is nothing to train on.
    """
    settings = settings or ComputeSettings()
    batches_per_epoch = _count_batches(loader_for_epoch, first_epoch)
    planned = total_steps(epochs, steps, batches_per_epoch)
    settings.place(model).train()
    # Some of torch's schedulers refuse a length of 0; no step will be taken then.
    schedule = make_scheduler(scheduler, optimizer, planned) if scheduler and planned else None
    stepper = stepper_for(Trainee(model, objective, optimizer, schedule, settings))
    log = _Log(_learning_rate(optimizer), on_batch)
    started = time.perf_counter()
    try:
        for image, mask in _batches(loader_for_epoch, first_epoch, planned, settings):
            log.rate_end = _learning_rate(optimizer)
            log.images += len(image)
            log.tell(stepper.step(image, mask))
        log.tell(stepper.finish())
    except NonFiniteError as problem:
        epoch, batch = divmod(len(log.losses), batches_per_epoch)
        raise NonFiniteLossError(
            f"{problem} at epoch {first_epoch + epoch}, batch {batch} (learning rate {_learning_rate(optimizer):.3g}): "
            "lower the optimizer's lr, set clip_norm or use float32; the model is as before this batch"
        ) from None
    return TrainReport(
        epochs=planned / batches_per_epoch,
        steps=planned,
        images=log.images,
        seconds=time.perf_counter() - started,
        mean_loss=log.loss_sum() / planned if planned else math.nan,
        learning_rate_start=log.rate_start,
        learning_rate_end=log.rate_end,
    )


class _Log:
    """What a training has spent and reached so far; a step's loss may become known later than the step is taken."""

    def __init__(self, rate: float, on_batch: OnBatch | None) -> None:
        self.rate_start = self.rate_end = rate
        self.images = 0
        self.losses: list[float] = []
        self._on_batch = on_batch

    def tell(self, losses: list[float]) -> None:
        """The losses that have become known."""
        for loss in losses:
            self.losses.append(loss)
            if self._on_batch is not None:
                self._on_batch(loss)

    def loss_sum(self) -> float:
        """Each added to those before it; Python's own `sum` rounds in another way from one version to the next."""
        total = 0.0
        for loss in self.losses:
            total += loss
        return total


def _learning_rate(optimizer: Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])


def _count_batches(loader_for_epoch: LoaderForEpoch, epoch: int) -> int:
    loader = loader_for_epoch(epoch)
    if not isinstance(loader, Sized):
        raise LabError(f"a training loader must have a length: {type(loader).__name__} has none")
    if len(loader) == 0:
        raise LabError("the training split gives no batch: lower loader.batch_size or add training images")
    return len(loader)


def _batches(
    loader_for_epoch: LoaderForEpoch, first_epoch: int, count: int, settings: ComputeSettings
) -> Iterator[tuple[Tensor, Tensor]]:
    """`count` batches from the first epoch on, on the device of the settings and in their layout."""
    first = loader_for_epoch(first_epoch)
    if isinstance(first, GoesOn):
        onward = first.onward(count, torch.device(settings.device))
    else:
        epochs = map(loader_for_epoch, itertools.count(first_epoch))
        onward = itertools.islice(itertools.chain.from_iterable(epochs), count)
    return (settings.move(image, mask) for image, mask in onward)
