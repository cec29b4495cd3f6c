"""A study goes on as if it had never been cut short, and only as the search that it was begun as."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from pruning_lab.common.errors import LabError
from pruning_lab.tasks.search.space import Space
from pruning_lab.tasks.search.study import FOLDER, Asked, Study, asked_for

SPACE: Space = {"x": FloatDistribution(0, 1), "importance": CategoricalDistribution(["l1", "ipad"])}
ONE = asked_for(SPACE, "best/val_iou", None, "hash")
TWO = asked_for(SPACE, ["best/val_iou", "best/flops_fraction"], ["maximize", "minimize"], "hash")


def opened(folder: Path, asked: Asked = ONE, space: Space = SPACE, sampler: Any = None) -> Study:
    return Study(folder, "s", space, asked, sampler, seed=1)


def tell(study: Study, trial: Any) -> None:
    x = trial.params["x"]
    assert study.tell(trial, {"best/val_iou": -((x - 0.3) ** 2), "best/flops_fraction": x}) == ""


def test_a_search_that_is_cut_short_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    whole = opened(tmp_path / "whole")
    for _ in range(14):
        tell(whole, whole.new_trial())
    for number in range(14):
        part = opened(tmp_path / "part")
        tell(part, part.new_trial())
        assert len(part.trials) == number + 1
    assert [trial.params for trial in part.trials] == [trial.params for trial in whole.trials]
    assert len({trial.params["x"] for trial in part.trials}) == 14


def test_two_seeds_draw_apart_though_one_is_ahead(tmp_path: Path) -> None:
    studies = [Study(tmp_path / str(seed), "s", SPACE, ONE, None, seed) for seed in (1, 2)]
    drawn = [{study.new_trial().params["x"] for _ in range(5)} for study in studies]
    assert not drawn[0] & drawn[1]


def test_a_trial_that_was_left_keeps_its_number_and_settings(tmp_path: Path) -> None:
    first = opened(tmp_path)
    tell(first, first.new_trial())
    left = first.settings(first.new_trial())
    again = opened(tmp_path)
    (trial,) = again.open_trials()
    assert (trial.number, again.settings(trial)) == (1, left)


def test_half_a_line_at_the_end_is_dropped(tmp_path: Path) -> None:
    study = opened(tmp_path)
    tell(study, study.new_trial())
    with open(study.journal, "ab") as stream:
        stream.write(b'{"op_code": 4, "wor')
    again = opened(tmp_path)
    tell(again, again.new_trial())
    assert [trial.state for trial in opened(tmp_path).trials] == [TrialState.COMPLETE] * 2


@pytest.mark.parametrize(
    ("asked", "space", "told"),
    [
        (replace(ONE, space={**ONE.space, "y": "z"}), SPACE, r"\(y\)"),
        (replace(ONE, directions=["minimize"]), SPACE, r"\(directions\)"),
        (TWO, SPACE, r"\(objectives, directions\)"),
        (replace(ONE, settings="other"), SPACE, "settings that are the same"),
    ],
)
def test_another_search_under_the_same_name_is_refused(tmp_path: Path, asked: Asked, space: Space, told: str) -> None:
    opened(tmp_path)
    with pytest.raises(LabError, match=told):
        opened(tmp_path, asked, space)


def test_two_objectives_have_a_front_without_doubles(tmp_path: Path) -> None:
    study = opened(tmp_path, TWO)
    values = [(0.5, 0.5), (0.9, 0.9), (0.4, 0.6), (0.5, 0.5), (0.1, 0.1)]
    for iou, flops in values:
        trial = study.new_trial()
        trial.set_user_attr(FOLDER, f"{iou}")
        study.tell(trial, {"best/val_iou": iou, "best/flops_fraction": flops})
    assert [tuple(trial.values) for trial in study.front()] == [(0.1, 0.1), (0.5, 0.5), (0.9, 0.9)]


def test_a_value_that_is_no_number_leaves_the_trial_open(tmp_path: Path) -> None:
    study = opened(tmp_path)
    trial = study.new_trial()
    assert "best/val_iou came to no number" in study.tell(trial, {"best/val_iou": float("nan")})
    assert len(study.open_trials()) == 1


def test_any_sampler_of_optuna_is_seeded_where_it_can_be(tmp_path: Path) -> None:
    node = OmegaConf.create({"_target_": "optuna.samplers.RandomSampler"})
    studies = [opened(tmp_path / name, sampler=node) for name in "ab"]
    first, second = ([study.new_trial().params["x"] for _ in range(3)] for study in studies)
    assert first == second
    assert len(set(first)) == 3


@pytest.mark.parametrize("directions", ["up", ["maximize"], ["maximize", "minimize", "minimize"]])
def test_directions_that_do_not_fit_are_told_with_the_objectives(directions: Any) -> None:
    with pytest.raises(LabError, match=r"hydra.sweeper.directions=.* does not fit returns="):
        asked_for(SPACE, ["best/val_iou", "best/flops_fraction"], directions, "hash")
