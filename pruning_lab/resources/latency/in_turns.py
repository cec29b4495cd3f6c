"""How long a model really takes on this machine. Knows torch only; costs on paper are for `resources`."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import in_mode

Forward = Callable[..., Any]
"""(model, *inputs) -> anything: how a model is run, e.g. in another precision."""


@dataclass(frozen=True)
class Latency:
    """Seconds of one forward pass: the median, and the range in which the middle 80 % of the repeats lie."""

    median_s: float
    low_s: float
    high_s: float
    device: str
    batch: int


@dataclass(frozen=True)
class LatencyPlan:
    """When a run measures latency, and how.

    Args:
        every: pruning steps between two measurements; 0: only when the stop rule asks.
        batches: numbers of images at once; the first one's is the latency that a stop rule sees.
        warmup: forward passes before the clock is read.
        repeats: forward passes that are timed; their median counts.
    """

    every: int = 0
    batches: Sequence[int] = (1,)
    warmup: int = 3
    repeats: int = 15

    def __post_init__(self) -> None:
        if self.every < 0:
            raise LabError(f"latency.every={self.every} must be a number of steps, or 0 for only when a stop rule asks")
        if not self.batches or min(self.batches) < 1:
            raise LabError(f"latency.batches={list(self.batches)} must hold numbers of images, e.g. [1, 8]")
        if self.warmup < 0 or self.repeats < 2:
            raise LabError(
                f"latency.warmup={self.warmup} must be at least 0 and latency.repeats={self.repeats} at least 2"
            )

    def is_due(self, step: int) -> bool:
        """Whether a step is to be measured though no stop rule asks for it."""
        return self.every > 0 and step % self.every == 0


def measure_latency(
    model: nn.Module, example: Tensor | tuple[Tensor, ...], warmup: int = 3, repeats: int = 15
) -> Latency:
    """Time forward passes of `model` on `example` ([N, C, H, W], or a tuple of inputs), on their device.

    Evaluation mode, no gradients; each module's training flag is as before afterwards. Accelerators are
    waited for, so that the time is that of the work and not of its launch. Raises ValueError for
    `repeats` < 2.
    """
    return measure_in_turns([model], example, warmup, repeats)[0]


def measure_in_turns(
    models: Sequence[nn.Module],
    example: Tensor | tuple[Tensor, ...],
    warmup: int = 3,
    repeats: int = 15,
    forward: Forward | None = None,
) -> list[Latency]:
    """Time several models on one example, a pass of each in turn, as `measure_latency` does one.

    A machine that slows down or speeds up meanwhile does so for all of them, and their ratios stay true.
    """
    if repeats < 2:
        raise ValueError(f"repeats is {repeats}; a median with its range needs at least 2")
    inputs = example if isinstance(example, tuple) else (example,)
    run = forward or _call
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(in_mode(model, training=False))
        stack.enter_context(torch.inference_mode())
        for _ in range(warmup):
            for model in models:
                run(model, *inputs)
        rounds = [[_time_once(run, model, inputs) for model in models] for _ in range(repeats)]
    return [_latency(list(seconds), inputs[0]) for seconds in zip(*rounds, strict=True)]


def _call(model: nn.Module, *inputs: Tensor) -> Any:
    return model(*inputs)


def _time_once(run: Forward, model: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    device = inputs[0].device
    _synchronize(device)
    start = time.perf_counter()
    run(model, *inputs)
    _synchronize(device)
    return time.perf_counter() - start


def _latency(seconds: list[float], example: Tensor) -> Latency:
    deciles = statistics.quantiles(seconds, n=10, method="inclusive")
    return Latency(statistics.median(seconds), deciles[0], deciles[-1], str(example.device), len(example))


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
