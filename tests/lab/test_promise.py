import math

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.lab.promise import BestWithinBudget, Last, MetricMinusPrice, Promise


def row(iou: float, flops: float = 1.0, weights: float = 1.0) -> dict[str, float]:
    return {"val/iou": iou, "resources/flops_fraction": flops, "resources/weights_fraction": weights}


HISTORY = [row(0.9), row(0.8, 0.6, 0.7), row(0.85, 0.5, 0.6), row(0.7, 0.3, 0.2)]


def best(promise: Promise, history=HISTORY) -> int:
    promises = promise(history)
    return promises.index(max(promises))


@pytest.mark.parametrize("promise", [BestWithinBudget(flops=0.5), MetricMinusPrice(), Last()])
def test_every_row_gets_one_promise(promise: Promise) -> None:
    assert len(promise(HISTORY)) == len(HISTORY)
    assert promise([]) == []


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 0),
        ({"flops": 0.6}, 2),
        ({"flops": 0.5}, 2),
        ({"weights": 0.5}, 3),
        ({"flops": 0.6, "weights": 0.3}, 3),
    ],
)
def test_the_best_metric_within_the_budget_wins(limits: dict, expected: int) -> None:
    assert best(BestWithinBudget(**limits)) == expected


def test_rows_over_the_budget_promise_nothing() -> None:
    assert BestWithinBudget(flops=0.5)(HISTORY)[:2] == [-math.inf, -math.inf]


def test_when_none_meets_the_budget_the_closest_does_best() -> None:
    assert best(BestWithinBudget(flops=0.1)) == 3
    assert best(BestWithinBudget(flops=0.1), HISTORY[:3]) == 2
    assert best(BestWithinBudget(flops=0.2, weights=0.5), [row(0.9, 0.5, 0.5), row(0.9, 0.4, 0.9)]) == 0


def test_another_metric_can_decide() -> None:
    history = [{"val/dice": 0.1}, {"val/dice": 0.2}]
    assert best(BestWithinBudget("val/dice"), history) == 1


def test_a_metric_that_is_not_a_number_promises_nothing() -> None:
    assert BestWithinBudget()([row(math.nan), row(0.1)]) == [-math.inf, 0.1]


def test_a_price_weighs_the_metric_against_the_cost() -> None:
    assert MetricMinusPrice(flops_price=0.5, weights_price=0.25)(HISTORY[:2]) == pytest.approx(
        [0.9 - 0.5 - 0.25, 0.8 - 0.3 - 0.175]
    )
    assert best(MetricMinusPrice(flops_price=0)) == 0
    assert best(MetricMinusPrice(flops_price=1)) == 3


def test_last_is_the_last() -> None:
    assert best(Last()) == 3


@pytest.mark.parametrize("promise", [BestWithinBudget("val/ioU"), MetricMinusPrice("val/ioU")])
def test_a_metric_that_is_not_in_the_history_is_named_with_those_that_are(promise: Promise) -> None:
    with pytest.raises(LabError, match=r"no metric val/ioU.*resources/flops_fraction.*val/iou"):
        promise(HISTORY)


def test_either_limit_is_enough_when_asked() -> None:
    rows = [
        {"val/iou": 0.9, "resources/flops_fraction": 0.6, "resources/weights_fraction": 0.6},
        {"val/iou": 0.8, "resources/flops_fraction": 0.6, "resources/weights_fraction": 0.2},
    ]
    assert BestWithinBudget(flops=0.5, weights=0.2, either=True)(rows) == [-math.inf, 0.8]
    assert BestWithinBudget(flops=0.5, weights=0.2)(rows) == pytest.approx([-0.4, -0.1])
