"""How the learning rate moves during a training: (optimizer, total_steps) -> scheduler. Knows torch only."""

import inspect
import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from pruning_lab.common.errors import LabError

SchedulerFactory = Callable[..., LRScheduler]

_LENGTH_NAMES = ("total_steps", "T_max", "total_iters")


def make_scheduler(factory: SchedulerFactory, optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """Builds a scheduler that is stepped once per optimizer step, `total_steps` times.

    The length goes to the first of `total_steps`, `T_max` and `total_iters` that the factory takes and that
    the config has not set; a factory that takes none of them is called with the optimizer alone. So this
    module's schedules and those of `torch.optim.lr_scheduler` both work, given as partials.

    Raises LabError for ReduceLROnPlateau, which follows a metric and not the step.
    """
    already_set: dict[str, Any] = getattr(factory, "keywords", {})
    parameters = inspect.signature(factory).parameters
    length = next((name for name in _LENGTH_NAMES if name in parameters and name not in already_set), None)
    scheduler = factory(optimizer, **({} if length is None else {length: total_steps}))
    if isinstance(scheduler, ReduceLROnPlateau):
        raise LabError("scheduler=ReduceLROnPlateau follows a metric, not the step: use cosine, linear or constant")
    return scheduler


def constant(optimizer: Optimizer, total_steps: int, warmup_fraction: float = 0.0) -> LambdaLR:
    """The optimizer's own rate, after a linear rise over the first `warmup_fraction` of the steps."""
    return _after_warmup(optimizer, total_steps, warmup_fraction, lambda progress: 1.0)


def linear(
    optimizer: Optimizer, total_steps: int, warmup_fraction: float = 0.0, final_fraction: float = 0.0
) -> LambdaLR:
    """Falls in a line to `final_fraction` of the optimizer's rate, after the warm-up of `constant`."""
    _check_final(final_fraction)
    return _after_warmup(optimizer, total_steps, warmup_fraction, lambda progress: 1 - (1 - final_fraction) * progress)


def cosine(
    optimizer: Optimizer, total_steps: int, warmup_fraction: float = 0.0, final_fraction: float = 0.0
) -> LambdaLR:
    """Falls along half a cosine to `final_fraction` of the optimizer's rate, after the warm-up of `constant`.

    Loshchilov and Hutter 2017, equation 5, without restarts.
    """
    _check_final(final_fraction)

    def fall(progress: float) -> float:
        return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2

    return _after_warmup(optimizer, total_steps, warmup_fraction, fall)


def _after_warmup(
    optimizer: Optimizer, total_steps: int, warmup_fraction: float, shape: Callable[[float], float]
) -> LambdaLR:
    """`shape` maps progress in [0, 1] to a factor; progress 1 is reached only once the last step is done."""
    if not 0 <= warmup_fraction <= 1:
        raise LabError(f"scheduler.warmup_fraction={warmup_fraction} must be between 0 and 1")
    warmup_steps = round(warmup_fraction * total_steps)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return shape(min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps)))

    return LambdaLR(optimizer, factor)


def _check_final(final_fraction: float) -> None:
    if not 0 <= final_fraction <= 1:
        raise LabError(f"scheduler.final_fraction={final_fraction} must be between 0 and 1")
