"""Stop rules: what is still above its budget."""

from collections.abc import Mapping

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.resources.counting import Resources
from pruning_lab.resources.fractions import Fractions
from pruning_lab.resources.table import RESOURCES
from pruning_lab.selection.stopping import All, AnyOf, Budget, StopRule


@pytest.mark.parametrize(
    ("rule", "flops", "weights", "unmet"),
    [
        (Budget("flops", 0.5), 0.51, 0.1, {"flops"}),
        (Budget("flops", 0.5), 0.5, 1.0, set()),
        (All(flops=0.5), 0.51, 0.1, {"flops"}),
        (All(flops=0.5), 0.5, 1.0, set()),
        (All(weights=0.5), 0.1, 0.51, {"weights"}),
        (All(weights=0.5), 1.0, 0.5, set()),
        (All(flops=0.5, weights=None), 0.5, 1.0, set()),
        (All(flops=0.5, weights=0.2), 0.6, 0.3, {"flops", "weights"}),
        (All(flops=0.5, weights=0.2), 0.4, 0.3, {"weights"}),
        (All(flops=0.5, weights=0.2), 0.6, 0.1, {"flops"}),
        (All(flops=0.5, weights=0.2), 0.5, 0.2, set()),
        (AnyOf(flops=0.5, weights=0.2), 0.6, 0.3, {"flops", "weights"}),
        (AnyOf(flops=0.5, weights=0.2), 0.6, 0.2, set()),
        (AnyOf(flops=0.5, weights=0.2), 0.5, 0.9, set()),
    ],
)
def test_a_rule_names_what_is_above_its_budget(rule: StopRule, flops: float, weights: float, unmet: set[str]) -> None:
    assert rule({"flops": flops, "weights": weights}) == unmet


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("rule", [All, AnyOf])
def test_every_resource_can_have_a_budget_of_its_own(rule: type[All], resource: str) -> None:
    assert rule(**{resource: 0.5})({resource: 0.6}) == {resource}
    assert rule(**{resource: 0.5})({resource: 0.5}) == set()


def test_any_resources_can_be_asked_of_together() -> None:
    budgets = dict.fromkeys(RESOURCES, 0.5)
    half, whole = dict.fromkeys(RESOURCES, 0.5), dict.fromkeys(RESOURCES, 1.0)
    assert All(**budgets)(whole) == set(RESOURCES)
    assert All(**budgets)({**half, "bytes": 0.6}) == {"bytes"}
    assert AnyOf(**budgets)({**whole, "bytes": 0.5}) == set()
    assert AnyOf(**budgets)(whole) == set(RESOURCES)


def test_a_rule_says_whether_one_budget_is_enough() -> None:
    assert AnyOf(flops=0.5).one_is_enough
    assert not All(flops=0.5).one_is_enough
    assert not Budget("flops", 0.5).one_is_enough


def test_a_rule_asks_only_for_what_it_needs_and_each_is_found_out_once() -> None:
    asked = []

    def clock() -> Mapping[str, float]:
        asked.append("latency")
        return {"resources/latency_fraction": 0.4}

    now, original = (Resources(size, 2 * size, 10, 10, {}) for size in (3, 10))
    fractions = Fractions(now, original, clock)
    assert All(flops=0.5)(fractions) == set()
    assert asked == []
    assert All(flops=0.5, latency=0.3)(fractions) == {"latency"}
    assert All(latency=0.5)(fractions) == set()
    assert asked == ["latency"]
    assert dict(fractions) == {"flops": 0.3, "weights": 1.0, "bytes": 1.0, "latency": 0.4}


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: All(flops=0), r"stop\.flops=0 must be"),
        (lambda: All(flops=-0.1), r"stop\.flops=-0\.1"),
        (lambda: AnyOf(flops=25), r"stop\.flops=25 must be .* write 0\.25"),
        (lambda: Budget("flop", 0.5), r"stop\.flop is not a resource; did you mean stop\.flops"),
        (lambda: All(weigths=0.5), r"did you mean stop\.weights"),
        (All, r"stop\.flops=0\.25"),
        (AnyOf, r"stop\.flops=0\.25"),
        (lambda: All(flops=None), r"stop\.flops=0\.25"),
        (lambda: All(memory=0.5)({"flops": 1.0}), r"stop\.memory.*another"),
    ],
)
def test_mistakes_are_told_in_one_line(make, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        make()
    assert "\n" not in str(caught.value)
