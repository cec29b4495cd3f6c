"""One training of a network, batch after batch. Must not know what it is for, nor config, nor tracking."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pruning_lab.common.errors import LabError
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.losses import Loss
from pruning_lab.training.schedules import SchedulerFactory, make_scheduler

LoaderForEpoch = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
OnBatch = Callable[[float], None]
Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, image [N, C, H, W], mask int64 [N, H, W]) -> scalar to make small; image and mask are on the device."""


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
    stepper = _Stepper(model, objective, optimizer, schedule, settings)
    rate_start = rate_end = _learning_rate(optimizer)
    images, loss_sum = 0, 0.0
    started = time.perf_counter()
    for done, (image, mask) in enumerate(itertools.islice(_endless(loader_for_epoch, first_epoch), planned)):
        rate_end = _learning_rate(optimizer)
        try:
            value = stepper.step(image, mask)
        except _NonFiniteError as problem:
            epoch, batch = divmod(done, batches_per_epoch)
            raise NonFiniteLossError(
                f"{problem} at epoch {first_epoch + epoch}, batch {batch} (learning rate {rate_end:.3g}): "
                "lower the optimizer's lr, set clip_norm or use float32; the model is as before this batch"
            ) from None
        images += len(image)
        loss_sum += value
        if on_batch is not None:
            on_batch(value)
    return TrainReport(
        epochs=planned / batches_per_epoch,
        steps=planned,
        images=images,
        seconds=time.perf_counter() - started,
        mean_loss=loss_sum / planned if planned else math.nan,
        learning_rate_start=rate_start,
        learning_rate_end=rate_end,
    )


def _learning_rate(optimizer: Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])


def _count_batches(loader_for_epoch: LoaderForEpoch, epoch: int) -> int:
    loader = loader_for_epoch(epoch)
    if not isinstance(loader, Sized):
        raise LabError(f"a training loader must have a length: {type(loader).__name__} has none")
    if len(loader) == 0:
        raise LabError("the training split gives no batch: lower loader.batch_size or add training images")
    return len(loader)


def _endless(loader_for_epoch: LoaderForEpoch, first_epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    for epoch in itertools.count(first_epoch):
        yield from loader_for_epoch(epoch)


class _NonFiniteError(Exception):
    """Says what is not finite; `train` adds where."""


class _Stepper:
    """Trains on one batch at a time, and undoes a batch that gave no finite number."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        settings: ComputeSettings,
    ) -> None:
        self.model, self.objective, self.optimizer = model, objective, optimizer
        self.schedule, self.settings = schedule, settings
        scaled = settings.precision == "float16" and settings.device_type == "cuda"
        self.scaler = torch.amp.GradScaler(settings.device_type, enabled=scaled)

    def step(self, image: Tensor, mask: Tensor) -> float:
        """Returns the batch's loss; raises _NonFiniteError with the model as it was."""
        # The forward pass alone already moves batch norm's running statistics.
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        try:
            value = self._backward(image, mask)
        except _NonFiniteError:
            with torch.no_grad():
                for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                    buffer.copy_(before)
            raise
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        skipped = self.scaler.get_scale() < scale
        if self.schedule is not None and not skipped:
            self.schedule.step()
        return value

    def _backward(self, image: Tensor, mask: Tensor) -> float:
        image, mask = self.settings.move(image, mask)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(self.model, image, mask)
        value = loss.item()
        if not math.isfinite(value):
            raise _NonFiniteError(f"the loss is {value}")
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        self._bound_gradient()
        return value

    def _bound_gradient(self) -> None:
        """Clips the gradient's norm; refuses one that is not finite, unless the scaler will skip the step."""
        trained = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])
        if not self.scaler.is_enabled() and not math.isfinite(norm.item()):
            raise _NonFiniteError(f"the gradient's norm is {norm.item()}")
        if self.settings.clip_norm is not None:
            clip_grads_with_norm_(trained, self.settings.clip_norm, norm)
