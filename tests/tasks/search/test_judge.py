"""A run that others leave behind is given up, with its reason, and none is without a pruner."""

from pathlib import Path

import pytest

from pruning_lab.common.errors import GivenUpError, LabError
from pruning_lab.tasks.search.judge import TRIAL, judge_of_this_job, trial_text
from pruning_lab.tasks.search.study import Study
from tests.tasks.search.test_study import opened, tell

MEDIAN = {"_target_": "pruning_lab.tasks.search.pruner.WorseThanOthers", "least": 3, "first_step": 1}


def look(patch: pytest.MonkeyPatch, study: Study, number: int, **row: float) -> None:
    """Show a row to the judge of a job's process."""
    patch.setenv(TRIAL, trial_text(study.journal, study.name, number, MEDIAN, "val/iou"))
    judge = judge_of_this_job()
    assert judge is not None
    judge({"val/iou" if name == "iou" else name: value for name, value in row.items()})


def test_a_run_below_the_median_is_given_up_and_the_best_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened(tmp_path)
    for number in range(3):
        trial = study.new_trial()
        look(monkeypatch, study, number, step=1, iou=0.6)
        look(monkeypatch, study, number, step=2, iou=0.5)
        tell(study, trial)
    study.new_trial()
    look(monkeypatch, study, 3, step=1, iou=0.7)
    look(monkeypatch, study, 3, step=1, iou=0.7)  # a run that is gone on with shows its last step again
    with pytest.raises(GivenUpError, match=r"after step 2 by the pruner: val/iou is 0\.2000"):
        look(monkeypatch, study, 3, step=2, iou=0.2)


def test_a_metric_that_no_history_has_is_told_by_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened(tmp_path)
    study.new_trial()
    with pytest.raises(LabError, match=r"hydra\.sweeper\.prune_by=val/iou is not in the history"):
        look(monkeypatch, study, 0, step=1)


def test_a_job_of_no_search_has_no_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRIAL, raising=False)
    assert judge_of_this_job() is None
