"""When the budget is met. Knows fractions of the original resources and nothing else.

A stop rule is a callable: mapping resource -> fraction of the original that is left, to the set of resources that are
still above their budget. An empty set means: met. What is still unmet steers the selection. A rule looks up only what
it needs, so that what no rule asks for is never measured. A rule that is met as soon as one of several budgets is says
so in its attribute `one_is_enough`; without that attribute all of them count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from pruning_lab.common.errors import LabError
from pruning_lab.resources.table import MILLISECONDS, RESOURCES, check_resource

StopRule = Callable[[Mapping[str, float]], frozenset[str]]


class Budget:
    """Met when one resource is at most a fraction of the original's; for latency, of the base's, timed in turns.

    Args:
        fraction: for `latency_ms` it is no fraction, but milliseconds.
    """

    one_is_enough = False

    def __init__(self, resource: str, fraction: float) -> None:
        self.resource, self.fraction = check_resource("stop", resource), float(fraction)
        if resource == MILLISECONDS:
            if not 0 < fraction < math.inf:
                raise LabError(f"stop.{resource}={fraction} must be a positive number of milliseconds")
        elif not 0 < fraction <= 1:
            raise LabError(
                f"stop.{resource}={fraction} must be a fraction of the original in (0, 1]; for 25 % write 0.25"
            )

    def __call__(self, fractions: Mapping[str, float]) -> frozenset[str]:
        try:
            left = fractions[self.resource]
        except KeyError:
            raise LabError(
                f"stop.{self.resource}: the {self.resource} of this model can't be told; set a budget on another "
                f"resource, one of {', '.join(RESOURCES)}"
            ) from None
        unmet = "latency" if self.resource == MILLISECONDS else self.resource
        return frozenset({unmet} if left > self.fraction else ())


class All:
    """Met when every budget that is given is; the run does not give up before.

    Args:
        budgets: resource -> fraction of the original's to reach; None sets no budget.
    """

    one_is_enough = False

    def __init__(self, **budgets: float | None) -> None:
        self.budgets = _given(budgets)

    def __call__(self, fractions: Mapping[str, float]) -> frozenset[str]:
        return frozenset().union(*(budget(fractions) for budget in self.budgets))


class AnyOf:
    """Met as soon as one of the budgets that are given is.

    Args:
        budgets: resource -> fraction of the original's to reach; None sets no budget.
    """

    one_is_enough = True

    def __init__(self, **budgets: float | None) -> None:
        self.budgets = _given(budgets)

    def __call__(self, fractions: Mapping[str, float]) -> frozenset[str]:
        unmet = [budget(fractions) for budget in self.budgets]
        return frozenset().union(*unmet) if all(unmet) else frozenset()


def _given(fractions: Mapping[str, float | None]) -> tuple[Budget, ...]:
    budgets = tuple(Budget(resource, value) for resource, value in fractions.items() if value is not None)
    if not budgets:
        raise LabError("stop: no budget is given; set at least one, e.g. stop.flops=0.25")
    return budgets
