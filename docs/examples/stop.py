"""A stop rule of one's own: FLOPs or memory, whichever is first, but never before the weights are down as well."""

from collections.abc import Mapping

from pruning_lab.common.errors import LabError


class FlopsOrMemory:
    """Met when the weights are, and FLOPs or memory as well; all are fractions of the original's."""

    def __init__(self, flops: float, memory: float, weights: float) -> None:
        self.limits = {"flops": flops, "memory": memory, "weights": weights}
        for resource, limit in self.limits.items():
            if not 0 < limit <= 1:
                raise LabError(f"stop.{resource}={limit} must be a fraction of the original in (0, 1]")

    def __call__(self, fractions: Mapping[str, float]) -> frozenset[str]:
        """The resources that are still above their limit; empty when the budget is met."""
        above = {resource for resource, limit in self.limits.items() if fractions[resource] > limit}
        if not {"flops", "memory"} <= above:
            above -= {"flops", "memory"}
        return frozenset(above)
