"""How many threads torch and OpenCV use: as many as are asked for, or this run's share of the machine."""

from __future__ import annotations

import cv2
import torch

from pruning_lab.common import sharing

ALONE = torch.get_num_threads()
"""What torch takes by itself, where nothing else runs: a thread for each core that is no mere hyper-thread."""


class Threads:
    """Sets the number of threads each time that it is called.

    Args:
        fixed: that many; None takes the cores that this process may use, divided by the runs that share them.
        steady: keep the number of the first call, as another number may round in another way.
    """

    def __init__(self, fixed: int | None = None, steady: bool = False) -> None:
        self._fixed, self._steady = fixed, steady
        self._taken: int | None = None

    def __call__(self, earlier: int | None = None) -> str:
        """Returns a line where the number is chosen or has changed, else an empty one.

        Args:
            earlier: what an earlier process took for the same run; a steady run keeps it.
        """
        if self._taken is not None and (self._steady or self._fixed is not None):
            return ""
        runs = sharing.runs_here()
        before = self._taken
        self._taken = self._fixed or (earlier if self._steady else None) or max(1, min(ALONE, sharing.cores() // runs))
        torch.set_num_threads(self._taken)
        cv2.setNumThreads(self._taken)
        if self._fixed is not None or before == self._taken:
            return ""
        others = "no other run shares" if runs == 1 else f"{runs} runs share"
        return f"threads: {self._taken} ({others} {sharing.cores()} cores); threads=N sets another number"
