"""What is typed as a space is what Optuna draws from."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pruning_lab.common.errors import LabError
from pruning_lab.tasks.search.space import fixed_of, space_of

DRAWN = {
    "importance=l1,ipad": CategoricalDistribution(["l1", "ipad"]),
    "importance=choice(l1,'a,b')": CategoricalDistribution(["l1", "a\\,b"]),
    "seed=range(1,6)": IntDistribution(1, 5),
    "seed=range(8,1,-2)": IntDistribution(2, 8, step=2),
    "recovery.epochs=range(0.1,0.5,0.1)": FloatDistribution(0.1, 0.4, step=0.1),
    "seed=tag(log,range(1,65))": IntDistribution(1, 64, log=True),
    "+importance.omega=interval(0,1)": FloatDistribution(0.0, 1.0),
    "base.optimizer.lr=tag(log,interval(1e-4,1e-1))": FloatDistribution(1e-4, 1e-1, log=True),
    "seed=tag(int,interval(1,9))": IntDistribution(1, 9),
}


@pytest.mark.parametrize(("typed", "drawn"), DRAWN.items())
def test_every_sweep_of_hydras_grammar_has_its_distribution(typed: str, drawn: BaseDistribution) -> None:
    space = space_of(OverridesParser.create().parse_overrides([typed]))
    assert space == {typed.partition("=")[0]: drawn}


def test_what_has_one_value_is_fixed() -> None:
    overrides = OverridesParser.create().parse_overrides(["name=s", "~data", "seed=1,2"])
    assert fixed_of(overrides) == ["name=s", "~data"]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("seed=1", "nothing is searched"),
        ("seed=interval(3,1)", "seed can't be searched"),
        ("seed=range(3,3)", "the range is empty"),
        ("recovery.epochs=tag(log,interval(0,1))", "recovery.epochs can't be searched"),
    ],
)
def test_what_cannot_be_drawn_from_is_one_line_that_names_the_key(typed: str, told: str) -> None:
    with pytest.raises(LabError, match=told) as raised:
        space_of(OverridesParser.create().parse_overrides([typed]))
    assert "\n" not in str(raised.value)
