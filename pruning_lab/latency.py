"""How long a model really takes on this machine. Knows torch only; costs on paper are for `resources`."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Latency:
    """Seconds of one forward pass: the median, and the range in which the middle 80 % of the repeats lie."""

    median_s: float
    low_s: float
    high_s: float
    device: str
    batch: int


def measure_latency(
    model: nn.Module, example: Tensor | tuple[Tensor, ...], warmup: int = 3, repeats: int = 15
) -> Latency:
    """Time forward passes of `model` on `example` ([N, C, H, W], or a tuple of inputs), on their device.

    Evaluation mode, no gradients; each module's training flag is as before afterwards. Accelerators are
    waited for, so that the time is that of the work and not of its launch. Raises ValueError for
    `repeats` < 2.
    """
    if repeats < 2:
        raise ValueError(f"repeats is {repeats}; a median with its range needs at least 2")
    inputs = example if isinstance(example, tuple) else (example,)
    device = inputs[0].device
    with _evaluating(model), torch.inference_mode():
        for _ in range(warmup):
            model(*inputs)
        seconds = [_time_once(model, inputs, device) for _ in range(repeats)]
    deciles = statistics.quantiles(seconds, n=10, method="inclusive")
    return Latency(
        median_s=statistics.median(seconds),
        low_s=deciles[0],
        high_s=deciles[-1],
        device=str(device),
        batch=len(inputs[0]),
    )


def _time_once(model: nn.Module, inputs: tuple[Tensor, ...], device: torch.device) -> float:
    _synchronize(device)
    start = time.perf_counter()
    model(*inputs)
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in was_training.items():
            module.training = training
