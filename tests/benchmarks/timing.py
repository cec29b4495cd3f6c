"""Seconds and bytes, measured in this process. Knows no pruning."""

from __future__ import annotations

import gc
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ENOUGH = 5.0
"""Processor seconds after which a measurement is not repeated any more."""
SHORT = 0.04
"""Processor seconds below which the ticks of the clock show."""


def seconds(run: Callable[[], Any], repeats: int = 5) -> float:
    """Median processor time of a call, of fewer repeats where one is slow. What else the machine does matters least.

    The clock of a process may tick in steps of milliseconds, so that short calls are made several times a measurement.
    A call that can't be repeated is measured as it is.
    """
    times: list[float] = []
    calls = 1
    while len(times) < repeats and sum(times) * calls < ENOUGH:
        started = time.process_time()
        for _ in range(calls):
            run()
        took = time.process_time() - started
        if took < SHORT and repeats > 1:
            calls, times = 2 * calls, []
        else:
            times.append(took / calls)
    return statistics.median(times)


@torch.no_grad()
def forward_seconds(model: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """Median time of a forward pass in evaluation mode, after two that are not counted."""
    model.eval()
    for _ in range(2):
        model(*inputs)
    return seconds(lambda: model(*inputs), repeats=9)


def size_of_object(root: object) -> int:
    """Bytes of an object and of all that it holds, the data of its tensors among them, each counted once."""
    seen: set[int] = set()
    storages: dict[int, int] = {}
    waiting, total = [root], 0
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, (type, types.ModuleType, types.FunctionType)):
            continue
        seen.add(id(item))
        total += sys.getsizeof(item)
        if isinstance(item, Tensor):
            storages[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
        else:
            waiting.extend(gc.get_referents(item))
            if isinstance(item, np.ndarray) and item.base is not None:
                waiting.append(item.base)
    return total + sum(storages.values())
