"""task=budgets: every budget's run is the one that would have been made alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.data import Loaders
from pruning_lab.importance import Importance, MovingAverage, Random
from pruning_lab.lab import loop as lab
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.card import read_cards
from pruning_lab.lab.output.history import History
from pruning_lab.lab.several_budgets import prune_to_each
from pruning_lab.selection.stopping import All
from pruning_lab.tasks.config import run_task
from pruning_lab.tasks.report.run_search import find_runs
from tests.lab.output.mlflow.stores import client_of
from tests.networks.labs import Recorder, tiny_lab
from tests.tasks.test_assembly import SMALL, perform
from tests.tasks.test_config import composed

TIMES = ("seconds", "latency")


def told(row: dict[str, float]) -> dict[str, float]:
    """What of a row does not depend on the clock."""
    return {name: value for name, value in row.items() if not any(word in name for word in TIMES)}


@pytest.mark.slow
@pytest.mark.parametrize("importance", [lambda: Random(3), lambda: MovingAverage(Random(3))])
def test_shared_steps_end_as_the_runs_made_alone_do(tmp_path: Path, importance: Callable[[], Importance]) -> None:
    def lab_to(limit: float, way: str, tracker: Recorder) -> Experiment:
        own = {"stop": All(flops=limit), "importance": importance(), "tracker": tracker}
        return tiny_lab(tmp_path / f"{way}_{limit}", bases=tmp_path / "bases", **own)

    limits, trackers = [0.8, 0.6, 0.5], [Recorder() for _ in range(3)]
    for limit in limits:
        lab.prune(lab_to(limit, "alone", Recorder()))
    together = [lab_to(limit, "shared", tracker) for limit, tracker in zip(limits, trackers, strict=True)]
    summaries = prune_to_each(together)
    for limit, summary, tracker in zip(limits, summaries, trackers, strict=True):
        alone, shared = (
            History.read(tmp_path / f"{way}_{limit}" / "run" / "history.csv") for way in ("alone", "shared")
        )
        assert [told(row) for row in shared] == [told(row) for row in alone]
        assert summary["test/iou"] == read_cards(tmp_path / f"alone_{limit}" / "run").pruned.test_iou
        assert [step for step, _ in tracker.steps] == list(range(len(alone)))
    assert "steps_shared_with" not in trackers[0].tags
    assert trackers[2].tags["steps_shared_with"] == str(tmp_path / "shared_0.6" / "run")


@pytest.mark.slow
def test_the_base_is_tested_once_for_all_budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tested = []
    loader = Loaders.eval_loader
    monkeypatch.setattr(Loaders, "eval_loader", lambda self, split: tested.append(split) or loader(self, split))
    limits = (0.8, 0.6)
    prune_to_each([tiny_lab(tmp_path / str(limit), bases=tmp_path, stop=All(flops=limit)) for limit in limits])
    assert tested.count("test") == 3
    first, second = (read_cards(tmp_path / str(limit) / "run") for limit in limits)
    assert (first.base.test_iou, first.base.test_dice) == (second.base.test_iou, second.base.test_dice)


@pytest.mark.slow
def test_the_task_leaves_a_run_for_each_budget_and_the_report_finds_them(tmp_path: Path) -> None:
    value = perform(tmp_path, "several", "task=budgets", "task.limits=[0.6,0.8]")
    found = find_runs(str(tmp_path / "several"))
    assert [run.folder.name for run in found.runs] == ["flops_0.6", "flops_0.8"]
    assert [run.config["stop"]["flops"] for run in found.runs] == [0.6, 0.8]
    assert [run.cards.budget_met for run in found.runs] == [True, True]
    assert not found.left_out
    assert value in found.runs[0].history.column("val/iou")


@pytest.mark.slow
def test_the_runs_of_all_budgets_stand_below_one(tmp_path: Path) -> None:
    settings = [each for each in SMALL if each != "tracking=none"]
    config = composed(*settings, f"output_root={tmp_path}", "task=budgets", "task.limits=[0.6,0.8]", "name=several")
    run_task(config, str(tmp_path / "several"), {"task": "budgets", "importance": "ipad"})
    client = client_of(tmp_path)
    (experiment,) = [each for each in client.search_experiments() if each.name == "pruning_lab"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    below = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in below} == {parent.info.run_id}
    assert {run.data.params["_flops"] for run in below} == {"0.6", "0.8"}
    assert parent.info.run_name == "several: budgets of flops"
    assert (parent.info.status, parent.data.metrics["jobs/finished"]) == ("FINISHED", 2)
    assert parent.data.tags["mlflow.note.content"].startswith("Jobs: 2 finished. Best: ")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [(["task.limits=[]"], "task.limits"), (["task.limits=[2]"], "task.limits"), (["stop=both"], "stop=flops")],
)
def test_what_can_not_be_shared_is_refused(tmp_path: Path, overrides: list[str], told: str) -> None:
    with pytest.raises(LabError, match=told):
        perform(tmp_path, "several", "task=budgets", *overrides)
