"""From what was typed to what Optuna draws from: `choice`, `range`, `interval`. Knows no study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import Trial

from pruning_lab.common.errors import LabError

DIGITS = 12
"""Decimals of a range's values: more are rounding."""

Space = dict[str, BaseDistribution]


def space_of(overrides: Sequence[Override]) -> Space:
    """What is searched: key as typed (`importance`, `+importance.omega`) -> what its values are drawn from.

    Raises:
        LabError: nothing is searched, or a value can't be drawn from.
    """
    space = {each.get_key_element(): _distribution(each) for each in overrides if each.is_sweep_override()}
    if not space:
        raise LabError("nothing is searched; give a key several values, e.g. 'importance.omega=interval(0,1)'")
    return space


def fixed_of(overrides: Sequence[Override]) -> list[str]:
    """What is the same in all trials, as typed."""
    return [str(each.input_line) for each in overrides if not each.is_sweep_override()]


def drawn(trial: Trial, space: Space) -> list[str]:
    """A trial's settings, `key=value`; what it was given before a process was killed stays as it is."""
    return [f"{key}={_draw(trial, key, distribution)}" for key, distribution in space.items()]


def as_text(space: Space) -> dict[str, str]:
    """A space fit for comparing and keeping."""
    return {key: distribution_to_json(distribution) for key, distribution in space.items()}


def difference(known: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    """Keys that two spaces do not draw alike."""
    return sorted(key for key in {*known, *asked} if known.get(key) != asked.get(key))


def _distribution(override: Override) -> BaseDistribution:
    key, sweep = override.key_or_group, override.value()
    try:
        if isinstance(sweep, ChoiceSweep):
            return CategoricalDistribution(list(override.sweep_string_iterator()))
        if isinstance(sweep, RangeSweep):
            return _range(override, sweep)
        if isinstance(sweep, IntervalSweep):
            return _interval(sweep)
    except ValueError as error:
        raise LabError(f"{key} can't be searched: {error}; correct its values") from error
    raise LabError(f"{key} can't be searched; give choice(...), range(...) or interval(...)")


def _range(override: Override, sweep: RangeSweep) -> BaseDistribution:
    """Hydra's own values of the range, the last one included; tagged log, all between them."""
    values = sorted(round(value, DIGITS) for value in override.sweep_iterator())
    if not values:
        raise ValueError("the range is empty")
    whole, log = all(isinstance(value, int) for value in values), "log" in sweep.tags
    if log:
        return (IntDistribution if whole else FloatDistribution)(values[0], values[-1], log=True)
    step = abs(sweep.step)
    if whole:
        return IntDistribution(values[0], values[-1], step=int(step))
    return FloatDistribution(values[0], values[-1], step=float(step))


def _interval(sweep: IntervalSweep) -> BaseDistribution:
    start, end, log = sweep.start, sweep.end, "log" in sweep.tags
    assert start is not None
    assert end is not None
    if "int" in sweep.tags:
        return IntDistribution(int(start), int(end), log=log)
    return FloatDistribution(float(start), float(end), log=log)


def _draw(trial: Trial, key: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(key, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
