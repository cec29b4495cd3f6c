"""Every option of `conf/compensation` builds what it names, and shows every knob with its default and a comment."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from pruning_lab import compensation

CONF = Path(__file__).parents[2] / "conf" / "compensation"
KINDS = {
    "none": compensation.NoCompensation,
    "norms": compensation.Norms,
    "mean": compensation.Mean,
    "least_squares": compensation.LeastSquares,
}


def test_there_is_an_option_for_each() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_builds_what_it_names_with_the_defaults_of_the_class(name: str) -> None:
    assert instantiate(OmegaConf.load(CONF / f"{name}.yaml")) == KINDS[name]()


@pytest.mark.parametrize("name", KINDS)
def test_shows_every_knob_with_a_comment(name: str) -> None:
    lines = (CONF / f"{name}.yaml").read_text().splitlines()
    for key in inspect.signature(get_object(OmegaConf.load(CONF / f"{name}.yaml")["_target_"])).parameters:
        place = next(index for index, line in enumerate(lines) if line.startswith(f"{key}:"))
        assert lines[place - 1].startswith("# "), key
