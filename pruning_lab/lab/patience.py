"""How long one pass of a network takes: reckoned before it, and watched while it runs. Must not know what a step does.

A setting that fits in memory may still ask for passes of minutes, and a run makes thousands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import in_mode
from pruning_lab.lab.output.console import Reporter
from pruning_lab.lab.output.units import count, duration
from pruning_lab.training.compute import ComputeSettings

KEY = "longest_pass"
WORTH_TELLING_S = 1.0
"""Seconds of a pass from which a user is told of it."""

FEW_FLOPS = 5e10
"""Of a pass: any machine is through with so many within seconds."""

TIMED = {"cpu": (1, 256, 32), "other": (8, 512, 64)}
"""Images, channels and side of the convolution that a device's speed is taken from."""


def flops_of_pass(model: nn.Module, shape: tuple[int, ...]) -> int | None:
    """FLOPs of a pass over images of a shape, counted without computing; None where that can't be told.

    Args:
        model: one whose tensors may lie on the meta device, see `checkpoint.bounds.build_without_memory`. It is moved
            there.
    """
    model = model.to("meta")
    with in_mode(model, training=False), torch.no_grad(), FlopCounterMode(display=False) as counter:
        try:
            model(torch.zeros(shape, device="meta"))
        except Exception:  # of any kind, as networks please that look at values
            return None
    return counter.get_total_flops()


def check_flops(model: str, flops: int | None, settings: ComputeSettings, longest: float | None) -> float:
    """Seconds that a pass of so many FLOPs takes about, at the best that this device does; 0 where it is soon over.

    Raises:
        LabError: more than `longest`.
    """
    if flops is None or flops < FEW_FLOPS:
        return 0.0
    seconds = flops / _speed(settings)
    if longest is not None and seconds > longest:
        raise LabError(
            f"model {model}: a pass over one image takes {count(flops)} FLOPs, about {duration(seconds)} on this "
            f"{_spelled(settings)}, and a run makes thousands; {_mend(longest)}"
        )
    return seconds


def watched_pass(model: nn.Module, image: Tensor, longest: float | None) -> float:
    """Seconds that a pass in evaluation mode over images [N, C, H, W] took.

    Raises:
        LabError: it took more than `longest` seconds for each image, and was stopped there.
    """
    started = time.perf_counter()
    most = None if longest is None else longest * len(image)
    with in_mode(model, training=False), torch.no_grad(), _Watch(type(model).__name__, most, longest):
        model(image)
    return time.perf_counter() - started


@contextmanager
def told_if_long(reporter: Reporter, name: str, seconds: float) -> Iterator[Callable[[str], None]]:
    """What tells the user which part of a piece of work begins, where a single pass takes so long that he would wonder.

    Args:
        seconds: of a pass.
    """
    if seconds < WORTH_TELLING_S:
        yield lambda part: None
        return
    reporter.say(f"{name}, of which a single pass takes {duration(seconds)}")
    with reporter.task(name, None) as task:

        def begins(part: str) -> None:
            task.note(part)
            task.advance()

        yield begins


class _Watch(TorchDispatchMode):
    """Stops a pass between two operators when its time is over."""

    def __init__(self, model: str, most: float | None, longest: float | None) -> None:
        super().__init__()
        self._model, self._most, self._longest = model, most, longest
        self._started = time.perf_counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        spent = time.perf_counter() - self._started
        if self._most is not None and spent > self._most:
            raise LabError(
                f"model {self._model}: a pass is not done after {duration(spent)}, and a run makes thousands; "
                f"{_mend(self._longest)}"
            )
        return func(*args, **(kwargs or {}))


def _mend(longest: float | None) -> str:
    return (
        "lower what makes the model large (width, depth, growth, ...) or the images (data.size), take a faster device, "
        f"or allow it by {KEY}=null ({KEY}={longest:g} now, in seconds)"
    )


def _spelled(settings: ComputeSettings) -> str:
    if settings.device_type != "cpu":
        return f"device ({settings.device})"
    threads = torch.get_num_threads()
    return f"CPU with {threads} thread{'s' if threads > 1 else ''}"


def _speed(settings: ComputeSettings) -> float:
    """FLOPs in a second, of a convolution that a device is good at, in the run's precision."""
    number, channels, side = TIMED.get(settings.device_type, TIMED["other"])
    with torch.random.fork_rng([]):
        layer = settings.place(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
        image, _ = settings.move(torch.ones(number, channels, side, side), torch.zeros(1))
    flops = 2 * number * 9 * channels**2 * side**2
    best = float("inf")
    with torch.no_grad():
        for _ in range(4):
            started = time.perf_counter()
            float(settings.logits(layer, image).sum())  # waits for the device
            best = min(best, time.perf_counter() - started)
    return flops / best
