"""The loop, from the base to the saved model, on a network that trains in a second."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch

from pruning_lab.checkpoint import load, read_architecture
from pruning_lab.common.errors import LabError
from pruning_lab.importance import Random
from pruning_lab.lab import loop as lab
from pruning_lab.lab.output.card import read_cards
from pruning_lab.lab.output.console import QuietReporter
from pruning_lab.lab.output.history import History
from pruning_lab.selection.floors import Floors
from pruning_lab.selection.stopping import All
from pruning_lab.training.loop import NonFiniteLossError
from pruning_lab.training.recovery import Recovery
from tests.lab.output.pages import Page, check_page
from tests.networks.labs import Recorder, scoring, tiny_lab


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recorder, dict[str, float]]:
    folder = tmp_path_factory.mktemp("lab")
    tracker = Recorder()
    summary = lab.prune(tiny_lab(folder, tracker=tracker))
    return folder, tracker, summary


def test_the_budget_is_reached_step_by_step(finished) -> None:
    folder, _, _ = finished
    fractions = History.read(folder / "run" / "history.csv").column("resources/flops_fraction")
    assert fractions[0] == 1.0
    assert fractions[-1] <= 0.5 < fractions[-3]
    assert fractions == sorted(fractions, reverse=True)


def test_every_step_is_tracked_as_the_history_has_it(finished) -> None:
    folder, tracker, _ = finished
    history = History.read(folder / "run" / "history.csv")
    assert [step for step, _ in tracker.steps] == [int(row["step"]) for row in history]
    for (_, metrics), row in zip(tracker.steps, history, strict=True):
        for name in ("resources/flops", "resources/weights_fraction", "val/iou", "val/dice", "val/loss"):
            assert metrics[name] == pytest.approx(row[name])
    cuts = history.rows[1:-1]
    assert all({"val/iou_before_recovery", "cost/score_seconds", "cost/recovery_epochs"} <= set(row) for row in cuts)


def test_the_test_split_is_scored_once_at_the_end(finished) -> None:
    folder, tracker, summary = finished
    history = History.read(folder / "run" / "history.csv")
    assert [("test/iou" in row) for row in history] == [False] * (len(history) - 1) + [True]
    assert summary["test/iou"] == pytest.approx(history[-1]["test/iou"])
    assert tracker.summary["test/iou"] == summary["test/iou"]


def test_summary_metrics_stand_for_the_run(finished) -> None:
    _, tracker, summary = finished
    assert {"best/val_iou", "best/flops_fraction", "best/weights_fraction", "best/step"} <= set(tracker.summary)
    assert summary["at/flops_50/val_iou"] >= 0
    assert "at/flops_10/val_iou" not in summary
    assert summary["budget_met"] == 1.0


def test_artifacts_are_stored_beside_the_metrics(finished) -> None:
    folder, tracker, _ = finished
    pictures = {
        "augmented_samples.png",
        "score_over_steps.png",
        "iou_against_flops.png",
        "layer_widths.png",
        "iou_of_classes.png",
        "base_training.png",
        "predictions.png",
    }
    assert {path.name for path in (folder / "run" / "figures").iterdir()} == pictures
    assert {f"figures/{name}" for name in pictures} <= set(tracker.artifacts)
    assert {"/history.csv", "/config.yaml", "/card.json", "/model", "/report.html"} <= set(tracker.artifacts)
    assert tracker.datasets == ["squares"]
    assert tracker.tables["widths"][0].keys() >= {"layer", "filters", "left", "floor", "frozen"}
    assert {row["layer"]: row["frozen"] for row in tracker.tables["widths"]}["outc"]
    page = Page(folder / "run" / "report.html")
    check_page(page)
    assert len([tag for tag, _ in page.elements if tag == "img"]) == 2
    assert tracker.status == "FINISHED"


def test_the_saved_model_is_the_one_that_was_scored(finished) -> None:
    folder, _, summary = finished
    experiment = tiny_lab(folder)
    model = load(folder / "run" / "model")
    scores = experiment.validator().evaluate(model, experiment.loaders().eval_loader("test"))
    assert scores["iou"] == pytest.approx(summary["test/iou"])
    cards = read_cards(folder / "run")
    assert cards.pruned.weights == sum(parameter.numel() for parameter in model.parameters())
    assert read_architecture(folder / "run" / "model")["about"]["base_hash"] == cards.base_hash
    assert cards.budget_met


@pytest.mark.slow
def test_the_same_seed_gives_the_same_history(tmp_path: Path) -> None:
    columns = ("resources/flops", "val/iou", "val/loss", "val/iou_before_recovery")
    told = []
    for name in ("one", "other"):
        lab.prune(tiny_lab(tmp_path / name))
        history = History.read(tmp_path / name / "run" / "history.csv")
        told.append([[row.get(column) for column in columns] for row in history])
    assert told[0] == told[1]


@pytest.mark.slow
def test_another_seed_shares_the_base_and_draws_other_numbers(tmp_path: Path) -> None:
    hashes, losses = [], []
    for seed in (1, 2):
        lab.prune(tiny_lab(tmp_path, seed=seed, importance=Random(seed)))
        history = History.read(tmp_path / "run" / "history.csv")
        hashes.append(read_cards(tmp_path / "run").base_hash)
        losses.append((history[0]["val/loss"], history[-1]["val/loss"]))
    assert hashes[0] == hashes[1]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_both_budgets_are_passed_and_the_change_of_preference_is_told(tmp_path: Path) -> None:
    reporter, tracker = QuietReporter(), Recorder()
    lab.prune(tiny_lab(tmp_path, stop=All(flops=0.8, weights=0.2), reporter=reporter, tracker=tracker))
    last = tracker.steps[-1][1]
    assert last["resources/flops_fraction"] <= 0.8
    assert last["resources/weights_fraction"] <= 0.2
    assert any("selection now prefers flops 0, weights 1" in line for line in reporter.lines)
    preferences = [metrics["selection/prefer_weights"] for _, metrics in tracker.steps[1:-1]]
    assert preferences[0] == 0.0
    assert preferences[-1] == 1.0


def test_an_impossible_budget_ends_cleanly_and_names_the_floors(tmp_path: Path) -> None:
    reporter = QuietReporter()
    floors = Floors(by_module={"inc.conv1": 1.0}, by_type={"Conv2d": 0.9})
    summary = lab.prune(tiny_lab(tmp_path, floors=floors, reporter=reporter))
    assert summary["budget_met"] == 0.0
    assert any("floors bind at" in warning and "inc.conv1" in warning for warning in reporter.warnings)
    assert not read_cards(tmp_path / "run").budget_met


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_what_was_good(tmp_path: Path) -> None:
    class Exploding(torch.nn.Module):
        calls = 0

        def forward(self, logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            loss = torch.nn.functional.cross_entropy(logits, mask)
            if not logits.requires_grad:
                return loss
            Exploding.calls += 1
            return loss * math.nan if Exploding.calls > 7 else loss

    tracker = Recorder()
    with pytest.raises(NonFiniteLossError, match="learning rate") as caught:
        lab.prune(tiny_lab(tmp_path, loss=Exploding(), tracker=tracker))
    assert "\n" not in str(caught.value)
    history = History.read(tmp_path / "run" / "history.csv")
    assert len(history) >= 2
    assert tracker.status == "FAILED"
    assert load(tmp_path / "run" / "model")(torch.zeros(1, 3, 16, 16)).shape == (1, 2, 16, 16)


def test_scores_that_break_the_contract_name_the_method(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="one score per group"):
        lab.prune(tiny_lab(tmp_path, importance=scoring(lambda graph: torch.zeros(3))))
    with pytest.raises(LabError, match="not finite"):
        lab.prune(tiny_lab(tmp_path, importance=scoring(lambda graph: torch.full((len(graph),), math.nan))))


def test_the_most_promising_of_the_last_models_is_kept(tmp_path: Path) -> None:
    from pruning_lab.lab.validation import Validation

    def second_last(history: list) -> list[float]:
        return [1.0 if index == len(history) - 2 else 0.0 for index in range(len(history))]

    summary = lab.prune(tiny_lab(tmp_path, validation=Validation(second_last, keep=2)))
    history = History.read(tmp_path / "run" / "history.csv")
    assert summary["best/step"] == history[-2]["step"]
    assert read_architecture(tmp_path / "run" / "model")["about"]["step"] == history[-2]["step"]


def test_connections_by_hand_reach_the_graph(tmp_path: Path) -> None:
    asked = set()

    def connections(layer: str, index: int, consumer: str) -> None:
        asked.add((layer, consumer))

    lab.prune(tiny_lab(tmp_path, connections=connections, max_steps=1))
    assert ("inc.conv1", "inc.conv2") in asked


def test_max_steps_ends_the_run(tmp_path: Path) -> None:
    tracker = Recorder()
    summary = lab.prune(tiny_lab(tmp_path, max_steps=1, tracker=tracker))
    assert summary["budget_met"] == 0.0
    assert [step for step, _ in tracker.steps] == [0, 1, 2]


def test_a_network_that_no_recovery_trains_is_validated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validated = []
    validate = lab.validate
    monkeypatch.setattr(lab, "validate", lambda *given: validated.append(1) or validate(*given))
    untrained = Recovery(partial(torch.optim.Adam, lr=1e-2), epochs=0)
    lab.prune(tiny_lab(tmp_path, max_steps=2, recovery=untrained))
    base, *cuts = History.read(tmp_path / "run" / "history.csv")
    assert len(validated) == 1 + len(cuts) == 3
    assert all(row["val/iou"] == row["val/iou_before_recovery"] and row["val/dice"] > 0 for row in cuts)
    assert all(0 < row["cost/validation_seconds"] < 3 * base["cost/validation_seconds"] + 1 for row in cuts)


@pytest.mark.slow
def test_without_pictures_a_run_has_the_same_numbers(tmp_path: Path) -> None:
    def told(folder: Path) -> list[dict[str, float]]:
        rows = History.read(folder / "run" / "history.csv")
        return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]

    drawn, plain = tmp_path / "drawn", tmp_path / "plain"
    lab.prune(tiny_lab(drawn, max_steps=1))
    lab.prune(tiny_lab(plain, max_steps=1, pictures=False))
    assert told(plain) == told(drawn)
    left = [[(folder / "run" / name).exists() for name in ("figures", "report.html")] for folder in (drawn, plain)]
    assert left == [[True, True], [False, False]]
    assert read_cards(plain / "run").pruned.test_iou == read_cards(drawn / "run").pruned.test_iou


def test_an_interrupted_run_is_marked_and_keeps_its_history(tmp_path: Path) -> None:
    def interrupt(graph: object) -> torch.Tensor:
        raise KeyboardInterrupt

    tracker = Recorder()
    with pytest.raises(KeyboardInterrupt):
        lab.prune(tiny_lab(tmp_path, importance=scoring(interrupt), tracker=tracker))
    assert tracker.status == "KILLED"
    assert len(History.read(tmp_path / "run" / "history.csv")) == 1
