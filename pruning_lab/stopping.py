"""When the budget is met. Knows fractions of the original resources and nothing else.

A stop rule is a callable: mapping resource -> fraction of the original that is left, to the set of resources that are
still above their budget. An empty set means: met. What is still unmet steers the selection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pruning_lab.errors import LabError

Fractions = Mapping[str, float]
StopRule = Callable[[Fractions], frozenset[str]]


def _fraction(key: str, value: float) -> float:
    if not 0 < value <= 1:
        raise LabError(f"stop.{key}={value} must be a fraction of the original in (0, 1]; for 25 % write 0.25")
    return float(value)


class Flops:
    """Met when FLOPs are at most `flops` of the original's."""

    def __init__(self, flops: float) -> None:
        self.flops = _fraction("flops", flops)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        return frozenset({"flops"} if fractions["flops"] > self.flops else ())


class Weights:
    """Met when weights are at most `weights` of the original's."""

    def __init__(self, weights: float) -> None:
        self.weights = _fraction("weights", weights)

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        return frozenset({"weights"} if fractions["weights"] > self.weights else ())


class Both:
    """Met when FLOPs and weights both are; the run does not give up before."""

    def __init__(self, flops: float, weights: float) -> None:
        self.rules = (Flops(flops), Weights(weights))

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        return frozenset().union(*(rule(fractions) for rule in self.rules))


class Either:
    """Met as soon as FLOPs or weights are."""

    def __init__(self, flops: float, weights: float) -> None:
        self.rules = (Flops(flops), Weights(weights))

    def __call__(self, fractions: Fractions) -> frozenset[str]:
        unmet = [rule(fractions) for rule in self.rules]
        return frozenset().union(*unmet) if all(unmet) else frozenset()
