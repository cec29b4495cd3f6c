"""A stop rule of one's own: weights first, and FLOPs only when these are down."""

from collections.abc import Mapping

from pruning_lab.common.errors import LabError


class WeightsFirst:
    """Met when both are at most a fraction of the original's; until the weights are, they alone steer the selection."""

    def __init__(self, weights: float, flops: float) -> None:
        self.limits = {"weights": weights, "flops": flops}
        for resource, limit in self.limits.items():
            if not 0 < limit <= 1:
                raise LabError(f"stop.{resource}={limit} must be a fraction of the original in (0, 1]")

    def __call__(self, fractions: Mapping[str, float]) -> frozenset[str]:
        """The resource that is to be saved next, as a set; empty when the budget is met."""
        above = [resource for resource, limit in self.limits.items() if fractions[resource] > limit]
        return frozenset(above[:1])
