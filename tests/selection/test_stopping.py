"""Stop rules: what is still above its budget."""

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.resources.fractions import LazyFractions
from pruning_lab.resources.table import RESOURCES
from pruning_lab.selection.stopping import All, AnyOf, Both, Either, Flops, Latency, Memory, Weights


@pytest.mark.parametrize(
    ("rule", "flops", "weights", "unmet"),
    [
        (Flops(0.5), 0.51, 0.1, {"flops"}),
        (Flops(0.5), 0.5, 1.0, set()),
        (Weights(0.5), 0.1, 0.51, {"weights"}),
        (Weights(0.5), 1.0, 0.5, set()),
        (Both(0.5, 0.2), 0.6, 0.3, {"flops", "weights"}),
        (Both(0.5, 0.2), 0.4, 0.3, {"weights"}),
        (Both(0.5, 0.2), 0.6, 0.1, {"flops"}),
        (Both(0.5, 0.2), 0.5, 0.2, set()),
        (Either(0.5, 0.2), 0.6, 0.3, {"flops", "weights"}),
        (Either(0.5, 0.2), 0.6, 0.2, set()),
        (Either(0.5, 0.2), 0.5, 0.9, set()),
    ],
)
def test_a_rule_names_what_is_above_its_budget(rule, flops: float, weights: float, unmet: set) -> None:
    assert rule({"flops": flops, "weights": weights}) == unmet


@pytest.mark.parametrize("value", [0, -0.1, 25])
def test_a_budget_is_a_fraction(value: float) -> None:
    with pytest.raises(LabError, match=r"stop\.flops"):
        Flops(value)


@pytest.mark.parametrize("rule", [Memory(0.5), All(memory=0.5), AnyOf(memory=0.5)])
def test_memory_has_a_budget_of_its_own(rule) -> None:
    assert rule({"memory": 0.6}) == {"memory"}
    assert rule({"memory": 0.5}) == set()


@pytest.mark.parametrize("rule", [Latency(0.5), All(latency=0.5), AnyOf(latency=0.5)])
def test_latency_has_a_budget_of_its_own(rule) -> None:
    assert rule({"latency": 0.6}) == {"latency"}
    assert rule({"latency": 0.5}) == set()


def test_any_resources_can_be_asked_of_together() -> None:
    budgets = dict.fromkeys(RESOURCES, 0.5)
    half, whole = dict.fromkeys(RESOURCES, 0.5), dict.fromkeys(RESOURCES, 1.0)
    assert All(**budgets)(whole) == set(RESOURCES)
    assert All(**budgets)({**half, "bytes": 0.6}) == {"bytes"}
    assert AnyOf(**budgets)({**whole, "bytes": 0.5}) == set()
    assert AnyOf(**budgets)(whole) == set(RESOURCES)


def test_a_rule_asks_only_for_what_it_needs_and_each_is_found_out_once() -> None:
    asked = []

    def measure() -> float:
        asked.append("latency")
        return 0.4

    fractions = LazyFractions({"flops": 0.3, "latency": measure})
    assert Flops(0.5)(fractions) == set()
    assert asked == []
    assert All(flops=0.5, latency=0.3)(fractions) == {"latency"}
    assert Latency(0.5)(fractions) == set()
    assert asked == ["latency"]
    assert dict(fractions) == {"flops": 0.3, "latency": 0.4}


def test_a_resource_that_cannot_be_told_is_named() -> None:
    with pytest.raises(LabError, match=r"stop\.memory.*another") as caught:
        Memory(0.5)({"flops": 1.0})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rule", [All, AnyOf])
def test_without_a_budget_there_is_no_rule(rule) -> None:
    with pytest.raises(LabError, match=r"stop\.flops=0\.25"):
        rule()
