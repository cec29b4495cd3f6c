"""Which step of a run is the most promising: callables history -> one number per row. Knows no torch.

A row is a flat dict of the metrics of one step, `val/iou`, `resources/flops_fraction` and so on; row 0 is the
base. Higher is better, and minus infinity means never.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from pruning_lab.common.errors import LabError
from pruning_lab.resources.table import check_resource, column

Row = Mapping[str, float]
Promise = Callable[[Sequence[Row]], list[float]]


class BestWithinBudget:
    """The metric, among the rows that meet the budget; if none does, the row that comes closest to it.

    Args:
        metric: name of the metric, higher is better.
        either: one of the limits is enough, as for the stop rule `AnyOf`.
        limits: resource -> largest fraction of the base's; None sets no limit.
    """

    def __init__(self, metric: str = "val/iou", either: bool | None = False, **limits: float | None) -> None:
        self.metric = metric
        self.either = bool(either)
        self.limits = _columns({name: limit for name, limit in limits.items() if limit is not None})

    def __call__(self, history: Sequence[Row]) -> list[float]:
        excess = [self._excess(row) for row in history]
        if history and min(excess) > 0:
            return [-over for over in excess]
        return [-math.inf if over > 0 else _value(row, self.metric) for row, over in zip(history, excess, strict=True)]

    def _excess(self, row: Row) -> float:
        """By how much the row misses the limit that counts: the worst missed one, or with `either` the nearest."""
        over = [max(0.0, _value(row, name) - limit) for name, limit in self.limits.items()]
        return (min if self.either else max)(over, default=0.0)


class MetricMinusPrice:
    """The metric minus what the network costs: metric - flops_price * FLOPs - weights_price * weights.

    Args:
        metric: name of the metric, higher is better.
        flops_price: points of the metric that the base's FLOPs are worth.
        weights_price: points of the metric that the base's weights are worth.
    """

    def __init__(self, metric: str = "val/iou", flops_price: float = 0.1, weights_price: float = 0.0) -> None:
        for name, price in {"flops_price": flops_price, "weights_price": weights_price}.items():
            if not price >= 0:
                raise LabError(f"validation.promise.{name}={price} must not be negative")
        self.metric = metric
        self.flops_price = flops_price
        self.weights_price = weights_price

    def __call__(self, history: Sequence[Row]) -> list[float]:
        return [
            _value(row, self.metric)
            - self.flops_price * _value(row, column("flops"))
            - self.weights_price * _value(row, column("weights"))
            for row in history
        ]


class Within:
    """Another promise, for rows that cost no more than a limit; the others promise nothing.

    Args:
        promise: of the rows within the limits.
        limits: resource -> largest fraction of the base's.
    """

    def __init__(self, promise: Promise, **limits: float) -> None:
        self.promise = promise
        self.limits = _columns(limits)

    def __call__(self, history: Sequence[Row]) -> list[float]:
        within = [all(_value(row, name) <= limit for name, limit in self.limits.items()) for row in history]
        return [value if fits else -math.inf for value, fits in zip(self.promise(history), within, strict=True)]


class Last:
    """Later is better: the last row is the most promising one."""

    def __call__(self, history: Sequence[Row]) -> list[float]:
        return [float(index) for index in range(len(history))]


def _columns(limits: Mapping[str, float]) -> dict[str, float]:
    """Limits by the history's names of what they limit."""
    return {column(check_resource("validation.promise", name)): limit for name, limit in limits.items()}


def _value(row: Row, name: str) -> float:
    """A metric of a row; NaN, which compares with nothing, counts as minus infinity."""
    if name not in row:
        raise LabError(f"validation.promise: the history has no metric {name}: use one of {', '.join(sorted(row))}")
    return -math.inf if math.isnan(row[name]) else row[name]
