"""What a task ends with: a number for a sweeper, and whether a budget was met. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pruning_lab.common.errors import LabError


@dataclass(frozen=True)
class Outcome:
    """The end of a task.

    Attributes:
        number: what `returns` names, for sweepers; None where a task has no such number.
        budget_met: whether the kept model meets the budget; None where there was none to meet.
    """

    number: float | None = None
    budget_met: bool | None = None


def returned(config: Any, summary: Mapping[str, float]) -> Outcome:
    """What a run's summary makes of a task. Raises LabError where `returns` names none of its metrics."""
    if config.returns not in summary:
        raise LabError(f"returns={config.returns} is not in the run's summary; use one of {', '.join(sorted(summary))}")
    met = summary.get("budget_met")
    return Outcome(summary[config.returns], None if met is None else bool(met))
