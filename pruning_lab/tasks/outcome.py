"""What a task ends with: a number for a sweeper, and whether a budget was met. Knows nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """The end of a task.

    Attributes:
        number: what `returns` names, for sweepers; None where a task has no such number.
        budget_met: whether the kept model meets the budget; None where there was none to meet.
    """

    number: float | None = None
    budget_met: bool | None = None
