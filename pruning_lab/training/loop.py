"""One training of a network, batch after batch. Must not know what it is for, nor config, nor tracking."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pruning_lab.common.errors import LabError
from pruning_lab.common.parts import part_of
from pruning_lab.common.stopping import asked, held_back
from pruning_lab.training.compute import ComputeSettings, random_state, set_random_state
from pruning_lab.training.losses import Loss
from pruning_lab.training.progress import Keeper, Progress
from pruning_lab.training.ranks.member import Alone, Member
from pruning_lab.training.schedules import SchedulerFactory, make_scheduler
from pruning_lab.training.stepping import NonFiniteError, Objective, Stepper, Trainee, stepper_for

LoaderForEpoch = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
OnBatch = Callable[[float], None]


@runtime_checkable
class GoesOn(Protocol):
    """An epoch whose loader can run on into the next one without a stop."""

    def onward(
        self, count: int, device: torch.device, skipped: int = 0, part: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """`count` batches on the device: this epoch's, and then those of the epochs after it.

        As many as `skipped` come first and are left out. Of each batch there is one part, by its number and how many
        there are.
        """


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
    """What one training spent and reached; `losses` has one for each step."""

    epochs: float
    steps: int
    images: int
    seconds: float
    losses: Sequence[float]
    learning_rate_start: float
    learning_rate_end: float

    @property
    def mean_loss(self) -> float:
        """NaN when no step was taken."""
        return math.fsum(self.losses) / self.steps if self.steps else math.nan


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
    start: Progress | None = None,
    keeper: Keeper | None = None,
) -> TrainReport:
    """Trains the model in place and leaves it in training mode, on the device of the settings.

    With several devices each batch is split over as many processes, which share all steps.

    Args:
        loader_for_epoch: epoch number -> sized iterable of (image float [N, C, H, W], mask int64 [N, H, W]).
        objective: what is made small; `TaskLoss` where only the logits and the mask count.
        scheduler: see `schedules.make_scheduler`; None keeps the optimizer's rate.
        epochs, steps: the length, see `total_steps`.
        first_epoch: number of the first epoch, so that each training of a run sees other shuffles.
        on_batch: called with the loss after each step.
        start: where an earlier process left this training; model and optimizer are as it left them.
        keeper: saves the training while it goes on; where it is asked to stop, it is saved first.

    Raises:
        KeyboardInterrupt: it was asked to stop.
        NonFiniteLossError: before the step that would have spoilt the weights.
        LabError: when there is nothing to train on.
    """
    settings = settings or ComputeSettings()
    training = _Training(model, objective, optimizer, scheduler, epochs, steps, first_epoch, settings, start)
    if settings.devices == 1:
        return _train(training, loader_for_epoch, Alone(), on_batch, keeper)
    from pruning_lab.training.ranks.team import team_for

    team = team_for(settings.devices)
    report: TrainReport = team.train(_train, training, loader_for_epoch, on_batch=on_batch, keeper=keeper)
    return report


@dataclass(frozen=True)
class _Training:
    """What every process has to know that has a part in a training. See `train`."""

    model: nn.Module
    objective: Objective
    optimizer: Optimizer
    scheduler: SchedulerFactory | None
    epochs: float | None
    steps: int | None
    first_epoch: int
    settings: ComputeSettings
    start: Progress | None


def _train(
    training: _Training,
    loader_for_epoch: LoaderForEpoch,
    member: Member,
    on_batch: OnBatch | None = None,
    keeper: Keeper | None = None,
) -> TrainReport:
    """One process's part of a training."""
    optimizer, first_epoch, start = training.optimizer, training.first_epoch, training.start
    settings = training.settings
    batches_per_epoch = _count_batches(loader_for_epoch, first_epoch)
    planned = total_steps(training.epochs, training.steps, batches_per_epoch)
    settings.place(training.model).train()
    # Some of torch's schedulers refuse a length of 0; no step will be taken then.
    schedule = _scheduler(training.scheduler, optimizer, planned, start) if training.scheduler and planned else None
    log = _Log(optimizer, schedule, on_batch, start)
    if start is not None:
        set_random_state(start.random)
    epochs_done, skipped = divmod(log.taken, batches_per_epoch)
    batches = _batches(loader_for_epoch, first_epoch + epochs_done, skipped, planned - log.taken, settings, member.part)
    try:
        with (
            held_back() if keeper is not None else nullcontext(),
            member.together(training.model, training.objective) as (model, objective),
        ):
            stepper = stepper_for(Trainee(model, objective, optimizer, schedule, settings))
            if start is not None:
                stepper.load_scaler_state(start.scaler)
            _take_steps(batches, stepper, log, member, keeper)
    except NonFiniteError as problem:
        epoch, batch = divmod(log.known, batches_per_epoch)
        raise NonFiniteLossError(
            f"{problem} at epoch {first_epoch + epoch}, batch {batch} (learning rate {_learning_rate(optimizer):.3g}): "
            "lower the optimizer's lr, set clip_norm or use float32; the model is as before this batch"
        ) from None
    return TrainReport(
        epochs=planned / batches_per_epoch,
        steps=planned,
        images=log.images,
        seconds=log.seconds(),
        losses=tuple(log.losses),
        learning_rate_start=log.rate_start,
        learning_rate_end=log.rate_end,
    )


def _take_steps(
    batches: Iterator[tuple[Tensor, Tensor]], stepper: Stepper, log: "_Log", member: Member, keeper: Keeper | None
) -> None:
    """Train on all the batches, and save in between. Raises KeyboardInterrupt when asked to stop, once all is saved."""
    for image, mask in batches:
        log.before(member.images(len(image)))
        log.tell(stepper.step(image, mask))
        if keeper is not None and (asked() or keeper.due(log.taken)):
            log.tell(stepper.finish())
            keeper.keep(log.progress(stepper))
            if asked():
                raise KeyboardInterrupt
    log.tell(stepper.finish())


class _Log:
    """What a training has spent and reached so far; a step's loss may become known later than the step is taken."""

    def __init__(
        self, optimizer: Optimizer, schedule: LRScheduler | None, on_batch: OnBatch | None, start: Progress | None
    ) -> None:
        self._optimizer, self._schedule = optimizer, schedule
        rate = _learning_rate(optimizer)
        self.rate_start = rate if start is None else start.rate_start
        self.rate_end = rate if start is None else start.rate_end
        self.taken = self.known = 0 if start is None else start.steps
        self.images = 0 if start is None else start.images
        self.losses = [] if start is None else list(start.losses)
        self._before = 0.0 if start is None else start.seconds
        self._started = time.perf_counter()
        self._on_batch = on_batch

    def before(self, images: int) -> None:
        """A step on so many images is about to be taken."""
        self.rate_end = _learning_rate(self._optimizer)
        self.images += images
        self.taken += 1

    def tell(self, losses: list[float]) -> None:
        """The losses that have become known."""
        for loss in losses:
            self.known += 1
            self.losses.append(loss)
            if self._on_batch is not None:
                self._on_batch(loss)

    def seconds(self) -> float:
        """What the training has taken, in all processes that had a part in it."""
        return self._before + time.perf_counter() - self._started

    def progress(self, stepper: Stepper) -> Progress:
        """All of it as plain data, between two steps."""
        return Progress(
            steps=self.taken,
            images=self.images,
            seconds=self.seconds(),
            losses=list(self.losses),
            rate_start=self.rate_start,
            rate_end=self.rate_end,
            schedule={} if self._schedule is None else self._schedule.state_dict(),
            scaler=stepper.scaler_state(),
            random=random_state(),
        )


def _scheduler(factory: SchedulerFactory, optimizer: Optimizer, planned: int, start: Progress | None) -> LRScheduler:
    """A new schedule, or one that goes on; then the rates that a new one sets are taken back."""
    rates = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    schedule = make_scheduler(factory, optimizer, planned)
    if start is not None:
        schedule.load_state_dict(start.schedule)
        for group, before in zip(optimizer.param_groups, rates, strict=True):
            group.update(before)
    return schedule


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
    loader_for_epoch: LoaderForEpoch,
    first_epoch: int,
    skipped: int,
    count: int,
    settings: ComputeSettings,
    part: tuple[int, int],
) -> Iterator[tuple[Tensor, Tensor]]:
    """A part of `count` batches from the first epoch on, but for its first `skipped`, placed as the settings say."""
    first = loader_for_epoch(first_epoch)
    if isinstance(first, GoesOn):
        onward = first.onward(count, torch.device(settings.device), skipped, part)
    else:
        epochs = map(loader_for_epoch, itertools.count(first_epoch))
        whole = itertools.islice(itertools.chain.from_iterable(epochs), skipped, skipped + count)
        onward = ((image[own], mask[own]) for image, mask in whole for own in [part_of(len(image), part)])
    return (settings.move(image, mask) for image, mask in onward)
