"""Stop rules: what is still above its budget."""

import pytest

from pruning_lab.errors import LabError
from pruning_lab.stopping import Both, Either, Flops, Weights


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
