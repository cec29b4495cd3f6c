"""Reads times that others on the machine disturb as little as possible. Knows callables, and no network.

Where one thread does all the work, its own time is read: what preempts it is not counted. A slower phase of the machine
(its clock, its caches) slows a fixed convolution as well, which is timed beside each run; times are told as multiples
of that reference.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pruning_lab.resources.latency.target import Target

Work = Callable[[], Any]

REFERENCE = (1, 64, 48, 48)
"""Sizes of what the reference convolves, with 64 filters of 3 x 3: a few milliseconds on a CPU's core."""


@dataclass(frozen=True)
class Reading:
    """Times of one thing, in units of the reference.

    Attributes:
        time: the lower quartile of its runs: what disturbs a run makes it longer, never shorter.
        spread: half the range of the middle half, over the median.
        runs: how many there were.
    """

    time: float
    spread: float
    runs: int

    @classmethod
    def of(cls, times: Sequence[float]) -> Reading:
        """From one run or several."""
        if len(times) == 1:
            return cls(times[0], 0.0, 1)
        low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
        return cls(low, (high - low) / 2 / middle if middle else 0.0, len(times))


class Clock:
    """Times work on a target.

    Args:
        now: gives seconds; None: the thread's own where it does all the work, else those of the wall.
        reference: the fixed work that is timed beside each run; None: a convolution on the target's device.

    Attributes:
        references: seconds that each run of the reference took.
    """

    def __init__(self, target: Target, now: Callable[[], float] | None = None, reference: Work | None = None) -> None:
        self._device = torch.device(str(target.device))
        self.now = now or (_thread_seconds if target.one_thread else time.perf_counter)
        self._reference = reference or _convolution(self._device)
        self.references: list[float] = []
        for _ in range(3):
            self._reference()

    def seconds(self, work: Work) -> float:
        """Run it once."""
        self.wait()
        start = self.now()
        work()
        self.wait()
        return self.now() - start

    def wait(self) -> None:
        """Let an accelerator finish."""
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)

    def reference(self) -> float:
        """Seconds of the reference now: the quicker of two runs."""
        took = min(self.seconds(self._reference), self.seconds(self._reference))
        self.references.append(took)
        return took

    @property
    def unit(self) -> float:
        """Seconds that the reference takes on the undisturbed machine: a low quantile of all that were seen."""
        if not self.references:
            self.reference()
        ordered = sorted(self.references)
        return ordered[len(ordered) // 10]

    def in_turns(
        self, works: Sequence[Work], rounds: int = 3, tries: int = 2, spend: float | None = None
    ) -> list[Reading]:
        """Time several things, in rounds, each after a run that warms it up; what spreads is timed again.

        Args:
            spend: seconds of one visit, see `visit`.
            tries: more rounds at most, for those that spread by more than `SPREAD`.
        """
        times: list[list[float]] = [[] for _ in works]
        for turn in range(rounds + tries):
            for place, work in enumerate(works):
                if turn < rounds or Reading.of(times[place]).spread > SPREAD:
                    times[place] += self.visit(work, spend)
        return [Reading.of(each) for each in times]

    def visit(self, work: Work, spend: float | None = None) -> list[float]:
        """Warm work up, and time it: each run in units of the reference before and after it; short work more often.

        Args:
            spend: as many runs as fit in so many seconds, from `FEWEST` to `MOST` of them; None: `SPENT`.
        """
        work()
        found: list[float] = []
        before, spent = self.reference(), 0.0
        while len(found) < FEWEST or (spent < (SPENT if spend is None else spend) and len(found) < MOST):
            took = self.seconds(work)
            spent += took
            after = self.reference()
            found.append(2 * took / (before + after))
            before = after
        return found


SPREAD = 0.05
"""A spread above this is measured again."""

FEWEST, MOST, SPENT = 2, 9, 0.15
"""Timed runs in one visit, at least and at most; between them as many as fit in so many seconds."""


def _thread_seconds() -> float:
    return time.thread_time_ns() / 1e9


def _convolution(device: torch.device) -> Work:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(*REFERENCE, generator=generator).to(device)
    weight = torch.randn(64, 64, 3, 3, generator=generator).to(device)

    def run() -> Any:
        with torch.inference_mode():
            return torch.ops.aten.conv2d.default(image, weight, None, [1, 1], [1, 1])

    return run
