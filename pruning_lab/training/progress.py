"""How far a training is, as plain data, and when that is saved. Must not know where to, nor what is trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pruning_lab.common.errors import LabError

SHARE = 0.02
"""The most of a training's time that saving may take, where the pace is `auto`."""

LEAST_SECONDS = 10.0
"""Work that may be lost for the sake of quiet; what a save costs is known only after the first."""


@dataclass(frozen=True)
class Progress:
    """What a training has done, beside its model and its optimizer.

    Attributes:
        steps, images, seconds: spent so far.
        losses: of these steps.
        rate_start, rate_end: learning rates of the first step and of the last.
        schedule, scaler: their own state dicts; empty where there is none.
        random: the state of all generators.
    """

    steps: int
    images: int
    seconds: float
    losses: list[float]
    rate_start: float
    rate_end: float
    schedule: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Any] = field(default_factory=dict)


class Keeper:
    """Saves a training while it goes on.

    Args:
        write: saves model, optimizer and a progress; never raises.
        every: optimizer steps between two saves; `auto` saves as often as `SHARE` of the time allows; None never,
            unless the training is asked to stop.
        clock: gives seconds, and exists for tests.
    """

    def __init__(
        self,
        write: Callable[[Progress], None],
        every: int | str | None = "auto",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        check_pace(every)
        self._write, self._every, self._clock = write, every, clock
        self._next = clock() + LEAST_SECONDS

    def due(self, steps: int) -> bool:
        """Whether to save after so many steps."""
        if self._every == "auto":
            return self._clock() >= self._next
        return isinstance(self._every, int) and steps % self._every == 0

    def keep(self, progress: Progress) -> None:
        """Save now."""
        started = self._clock()
        self._write(progress)
        now = self._clock()
        self._next = now + max(LEAST_SECONDS, (now - started) / SHARE)


def check_pace(every: int | str | None) -> None:
    """Raises LabError for what is no pace."""
    if every is not None and every != "auto" and (not isinstance(every, int) or every < 1):
        raise LabError(f"save_every={every} is no pace; give auto, a number of optimizer steps, or null for never")
