"""What came of a search stands in the run above its jobs."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pruning_lab.lab.output.tracker import Sweep
from pruning_lab.tasks.search.results import write_trials
from pruning_lab.tasks.search.study import FOLDER, Asked, Study
from pruning_lab.tasks.search.telling import tell_store, tell_sweep
from tests.lab.output.mlflow.stores import client_of, started, stored
from tests.tasks.search.test_study import ONE, SPACE, TWO, tell

CONFIG = OmegaConf.create({"tracking": {"uri": None}})


def searched(root: Path, asked: Asked) -> Study:
    """A search of three trials, one of which is open; the first is tracked, and has ended."""
    sweep = root / "sweeps" / "s"
    study = Study(sweep / "search-s", "s", SPACE, asked, None, seed=1)
    tracker = started(root, folder=sweep / "job", sweep=Sweep(sweep, "s", {"x": "0.1"}, ["x=interval(0,1)"]))
    for number in range(3):
        trial = study.new_trial()
        trial.set_user_attr(FOLDER, f"job{number}")
        if number < 2:
            tell(study, trial)
    tracker.log_summary({"best/val_iou": 0.5, "best/flops_fraction": 0.5})
    tracker.finish("FINISHED")
    write_trials(study, {2: "no luck"})
    tell_sweep(study, {2: "no luck"})
    tell_store(study, CONFIG)
    parent = stored(root, tracker).data.tags["mlflow.parentRunId"]
    note = client_of(root).get_run(parent).data.tags["mlflow.note.content"]
    files = {file.path for file in client_of(root).list_artifacts(parent, "more")}
    assert files == {f"more/{name}" for name in ("front.csv", "note.md", "search.png", "trials.csv")}
    assert note.startswith("Jobs: 1 finished")
    assert "**Search s**: 3 trials" in note
    return study


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "told"),
    [(ONE, "the best of best/val_iou (maximize)"), (TWO, "Pareto front of best/val_iou (maximize), best/flops")],
)
def test_the_run_above_a_search_has_its_best_trials(tmp_path: Path, asked: Asked, told: str) -> None:
    study = searched(tmp_path, asked)
    note = (tmp_path / "sweeps" / "s" / "tracking" / "more" / "note.md").read_text()
    assert told in note
    lines = [line for line in note.splitlines() if line.startswith("| ")]
    assert lines[0].startswith("| trial | x | importance | best/val_iou")
    assert len(lines) == 1 + len(study.front())
    assert f"| {study.front()[0].number} | " in "".join(lines[1:])


def test_a_search_that_is_not_tracked_writes_nothing_more(tmp_path: Path) -> None:
    study = Study(tmp_path / "s" / "search-s", "s", SPACE, ONE, None, seed=1)
    tell_sweep(study, {})
    tell_store(study, CONFIG)
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["search-s"]
