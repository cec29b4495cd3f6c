"""When the budget is met. Knows fractions of the original resources and nothing else.

A stop rule is a callable: mapping resource -> fraction of the original that is left, to the set of resources that are
still above their budget. An empty set means: met. What is still unmet steers the selection. A rule looks up only what
it needs, so that what nobody asks for is never measured.
"""

from __future__ import annotations

from collections.abc import Callable

from pruning_lab.common.errors import LabError
from pruning_lab.resources.fractions import Fractions
from pruning_lab.resources.table import RESOURCES

StopRule = Callable[[Fractions], frozenset[str]]


class Budget:
    """Met when one resource is at most a fraction of the original's."""

    def __init__(self, resource: str, fraction: float) -> None:
        self.resource, self.fraction = resource, _fraction(resource, fraction)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        try:
            left = fractions[self.resource]
        except KeyError:
            raise LabError(
                f"stop.{self.resource}: the {self.resource} of this model can't be told; set a budget on another "
                f"resource, one of {', '.join(RESOURCES)}"
            ) from None
        return frozenset({self.resource} if left > self.fraction else ())


class Flops:
    """Met when FLOPs are at most `flops` of the original's."""

    def __init__(self, flops: float) -> None:
        self.rule = Budget("flops", flops)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        return self.rule(fractions)


class Weights:
    """Met when weights are at most `weights` of the original's."""

    def __init__(self, weights: float) -> None:
        self.rule = Budget("weights", weights)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        return self.rule(fractions)


class Memory:
    """Met when the peak of activation memory is at most `memory` of the original's."""

    def __init__(self, memory: float) -> None:
        self.rule = Budget("memory", memory)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        return self.rule(fractions)


class Latency:
    """Met when the measured latency is at most `latency` of the base's, measured in turns with it."""

    def __init__(self, latency: float) -> None:
        self.rule = Budget("latency", latency)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        return self.rule(fractions)


class All:
    """Met when every budget that is given is; the run does not give up before. None sets no budget."""

    def __init__(
        self,
        flops: float | None = None,
        weights: float | None = None,
        bytes: float | None = None,
        memory: float | None = None,
        latency: float | None = None,
    ) -> None:
        self.rules = _budgets(flops=flops, weights=weights, bytes=bytes, memory=memory, latency=latency)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        return frozenset().union(*(rule(fractions) for rule in self.rules))


class AnyOf:
    """Met as soon as one of the budgets that are given is. None sets no budget."""

    def __init__(
        self,
        flops: float | None = None,
        weights: float | None = None,
        bytes: float | None = None,
        memory: float | None = None,
        latency: float | None = None,
    ) -> None:
        self.rules = _budgets(flops=flops, weights=weights, bytes=bytes, memory=memory, latency=latency)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        unmet = [rule(fractions) for rule in self.rules]
        return frozenset().union(*unmet) if all(unmet) else frozenset()


class Both:
    """Met when FLOPs and weights both are; the run does not give up before."""

    def __init__(self, flops: float, weights: float) -> None:
        self.rule = All(flops=flops, weights=weights)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        return self.rule(fractions)


class Either:
    """Met as soon as FLOPs or weights are."""

    def __init__(self, flops: float, weights: float) -> None:
        self.rule = AnyOf(flops=flops, weights=weights)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        return self.rule(fractions)


def _budgets(**fractions: float | None) -> tuple[Budget, ...]:
    rules = tuple(Budget(resource, value) for resource, value in fractions.items() if value is not None)
    if not rules:
        raise LabError(f"stop: no budget is given; set at least one, e.g. stop.{next(iter(fractions))}=0.25")
    return rules


def _fraction(key: str, value: float) -> float:
    if not 0 < value <= 1:
        raise LabError(f"stop.{key}={value} must be a fraction of the original in (0, 1]; for 25 % write 0.25")
    return float(value)
