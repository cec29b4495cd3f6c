"""What a task ends with: a number for a sweeper, and whether a budget was met. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pruning_lab.common.errors import LabError


@dataclass(frozen=True)
class Outcome:
    """The end of a task.

    Attributes:
        number: what `returns` names, for sweepers, one or several; None where a task has no such number.
        budget_met: whether the kept model meets the budget; None where there was none to meet.
    """

    number: float | tuple[float, ...] | None = None
    budget_met: bool | None = None


def names_of(returns: Any) -> tuple[str, ...]:
    """The metrics that `returns` names, one or a list of them."""
    several = isinstance(returns, Iterable) and not isinstance(returns, str)
    return tuple(str(name) for name in returns) if several else (str(returns),)


def returned(config: Any, summary: Mapping[str, float]) -> Outcome:
    """What a run's summary makes of a task. Raises LabError where `returns` names none of its metrics."""
    names = names_of(config.returns)
    for name in names:
        if name not in summary:
            raise LabError(f"returns={name} is not in the run's summary; use one of {', '.join(sorted(summary))}")
    met = summary.get("budget_met")
    numbers = tuple(summary[name] for name in names)
    return Outcome(numbers[0] if len(numbers) == 1 else numbers, None if met is None else bool(met))
