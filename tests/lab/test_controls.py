"""Every control beside the run that it controls: same base, same training, same names."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pruning_lab.checkpoint import Builder, load, read_architecture
from pruning_lab.common.errors import LabError
from pruning_lab.lab import controls
from pruning_lab.lab import loop as lab
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.console import QuietReporter
from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.run_folder import Run, read_run
from pruning_lab.models import UNet
from pruning_lab.selection.stopping import All
from pruning_lab.tasks.controls import random_at_widths
from pruning_lab.training.distillation import SoftTargets
from pruning_lab.training.recovery import BaseTraining
from tests.networks.labs import Recorder, tiny_lab


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run: 2 epochs of base, 1 after each cut, 1 at the end."""
    root = tmp_path_factory.mktemp("lab")
    lab.prune(tiny_lab(root))
    return read_run(root / "run")


def control_lab(run: Run, name: str, **changes: object) -> Experiment:
    """The run's experiment again, with a folder of its own."""
    root = run.folder.parent
    (root / name).mkdir(exist_ok=True)
    (root / name / "config.yaml").write_text("seed: 0\n")
    return tiny_lab(root, folder=root / name, tracker=Recorder(), reporter=QuietReporter(), **changes)


def weights_of(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def kernels(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters() if parameter.dim() > 1])


class TestScratch:
    @pytest.fixture(scope="class")
    def finished(self, run: Run) -> tuple[Experiment, dict[str, float]]:
        experiment = control_lab(run, "scratch")
        return experiment, controls.scratch(experiment, run)

    def test_it_has_the_runs_widths_and_other_weights(self, run: Run, finished) -> None:
        here, there = (load(folder / "model") for folder in (finished[0].output.folder, run.folder))
        shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (here, there)]
        assert shapes[0] == shapes[1]
        assert torch.isclose(kernels(here), kernels(there)).float().mean() < 0.1
        layers = [read_architecture(folder / "model")["layers"] for folder in (finished[0].output.folder, run.folder)]
        assert layers[0] == layers[1]
        assert weights_of(here) == History.read(finished[0].output.folder / "history.csv")[1]["resources/weights"]

    def test_it_is_step_1_beside_the_base(self, run: Run, finished) -> None:
        experiment, summary = finished
        history = History.read(experiment.output.folder / "history.csv")
        assert [row["step"] for row in history] == [0, 1]
        assert history[0]["val/iou"] == run.history[0]["val/iou"]
        assert history[1]["resources/flops"] == run.history[-1]["resources/flops"]
        assert summary["best/step"] == 1
        assert summary["at/flops_50/val_iou"] == history[1]["val/iou"]
        assert summary["test/iou"] == history[1]["test/iou"]

    def test_it_has_the_epochs_of_base_and_recoveries(self, run: Run, finished) -> None:
        history = History.read(finished[0].output.folder / "history.csv")
        assert history[1]["cost/recovery_epochs"] == 2 + len(run.history) - 1

    def test_it_leaves_what_a_run_leaves(self, run: Run, finished) -> None:
        experiment, _ = finished
        folder, tracker = experiment.output.folder, experiment.output.tracker
        assert {path.name for path in folder.iterdir()} == {path.name for path in run.folder.iterdir()}
        assert read_run(folder).cards.base_hash == run.cards.base_hash == tracker.tags["base_hash"]
        assert tracker.tags["control"] == "scratch"
        assert tracker.tags["control_of"] == str(run.folder)
        assert tracker.status == "FINISHED"

    def test_with_the_same_compute_a_smaller_network_has_more_epochs(self, run: Run) -> None:
        flops = run.history.column("resources/flops")
        compute = 2 * flops[0] + sum(flops[1:])  # one epoch each
        half = controls.epochs_to_spend(control_lab(run, "compute"), run, "compute", flops=int(flops[0] / 2))
        assert half == pytest.approx(2 * compute / flops[0])
        assert controls.epochs_to_spend(control_lab(run, "compute"), run, "epochs", flops=7) == 2 + len(flops) - 1

    def test_what_is_to_be_the_same_has_to_be_known(self, run: Run) -> None:
        with pytest.raises(LabError, match=r"task\.same=time"):
            controls.scratch(control_lab(run, "scratch-time"), run, same="time")


class TestTrainLonger:
    @pytest.fixture(scope="class")
    def finished(self, run: Run) -> tuple[Experiment, History]:
        experiment = control_lab(run, "longer")
        controls.train_longer(experiment, run)
        return experiment, History.read(experiment.output.folder / "history.csv")

    @pytest.mark.slow
    def test_every_step_has_the_epochs_of_the_runs_step(self, run: Run, finished) -> None:
        _, history = finished
        name = "cost/recovery_epochs"
        assert [row.get(name) for row in history] == [row.get(name) for row in run.history]
        assert [row["cost/learning_rate"] for row in history.rows[1:]] == [
            row["cost/learning_rate"] for row in run.history.rows[1:]
        ]

    def test_nothing_is_cut(self, finished) -> None:
        experiment, history = finished
        assert set(history.column("resources/flops_fraction")) == {1.0}
        assert weights_of(load(experiment.output.folder / "model")) == weights_of(experiment.model.build())
        assert experiment.output.tracker.tags["control"] == "train_longer"

    def test_the_base_goes_on_learning(self, finished) -> None:
        _, history = finished
        assert history[-1]["val/loss"] < history[0]["val/loss"]


def chain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))


class TestFlat:
    def test_its_width_gives_the_number_of_weights_that_is_nearest(self, run: Run) -> None:
        experiment = control_lab(run, "flat-search")
        builder = controls.flat_unet(experiment, run)
        wanted = run.cards.pruned.weights
        distances = [
            abs(weights_of(UNet(**{**builder.arguments, "width": builder.arguments["width"] + change})) - wanted)
            for change in (-1, 0, 1)
        ]
        assert distances[1] == min(distances)
        assert builder.arguments["depth"] == 2
        assert builder.arguments["growth"] == 1

    def test_it_leaves_what_a_run_leaves(self, run: Run) -> None:
        experiment = control_lab(run, "flat")
        summary = controls.flat(experiment, run)
        folder = experiment.output.folder
        finished = read_run(folder)
        assert summary["best/step"] == 1
        model = load(folder / "model")
        assert weights_of(model) == finished.cards.pruned.weights
        widths = {layer["current"] for layer in read_architecture(folder / "model")["layers"].values()}
        assert widths == {model.width, model.classes}
        assert experiment.output.tracker.tags["control"] == "flat"

    def test_it_stands_beside_a_base_of_another_kind(self, run: Run) -> None:
        builder = Builder("tests.lab.test_controls.chain")
        changes = {"build": chain, "builder": builder, "base_recipe": {"model": "chain"}}
        experiment = control_lab(run, "flat-chain", **changes)
        cards = replace(run.cards, base_hash=controls.hash_of_base(experiment))
        controls.flat(experiment, replace(run, cards=cards))
        layers = {row["layer"] for row in experiment.output.tracker.tables["widths"]}
        assert "down1.conv1" in layers


class TestRandomAtWidths:
    @pytest.mark.parametrize("budget", [0.9, 0.05])
    def test_it_ends_at_the_very_widths_whatever_the_budget_is(self, run: Run, budget: float) -> None:
        method = random_at_widths(run.folder, seed=2)
        experiment = control_lab(run, f"random-{budget}", importance=method, stop=All(flops=budget))
        summary = lab.prune(controls.to_the_widths_of(run, experiment))
        folders = (experiment.output.folder, run.folder)
        here, there = (read_architecture(folder / "model")["layers"] for folder in folders)
        assert {name: layer["current"] for name, layer in here.items()} == method.widths
        assert here != there
        assert summary["budget_met"] == 1.0
        assert experiment.output.tracker.tags["control"] == "random_at_widths"


def test_an_importance_that_keeps_all_ends_the_run_and_is_told(tmp_path: Path) -> None:
    reporter = QuietReporter()
    keeps = lambda model, graph, batches: torch.full((len(graph),), torch.inf)  # noqa: E731
    summary = lab.prune(tiny_lab(tmp_path, importance=keeps, reporter=reporter))
    assert summary["budget_met"] == 0.0
    assert any("kept by the importance method" in warning for warning in reporter.warnings)


@pytest.mark.parametrize("control", [controls.scratch, controls.flat, controls.train_longer])
def test_a_run_from_another_base_is_refused_before_anything_is_trained(run: Run, control) -> None:
    experiment = control_lab(run, "stranger", base=BaseTraining(torch.optim.Adam, epochs=9), base_recipe={"epochs": 9})
    with pytest.raises(LabError, match="started from base") as caught:
        control(experiment, run)
    assert "\n" not in str(caught.value)
    assert experiment.output.reporter.lines == []


def test_fresh_weights_follow_from_the_seed_and_forget_all_statistics() -> None:
    model = UNet(3, 2, width=2, depth=1)
    with torch.no_grad():
        for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm2d)):
            norm.running_mean.fill_(7)
            norm.bias.fill_(7)
    states = []
    for seed in (1, 1, 2):
        other = copy.deepcopy(model)
        controls.draw_weights(other, seed)
        states.append(kernels(other))
        assert not any((value == 7).any() for value in other.state_dict().values() if value.is_floating_point())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_module_that_can_not_draw_its_weights_is_named() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(3))

    with pytest.raises(LabError, match=r"1 \(Scale\) has weights but no reset_parameters"):
        controls.draw_weights(nn.Sequential(nn.Conv2d(3, 3, 1), Scale()), seed=0)


@pytest.mark.slow
def test_recoveries_ask_the_base_where_distillation_is_on(tmp_path: Path) -> None:
    plain, taught = [], []
    for losses, distillation in ((plain, None), (taught, SoftTargets())):
        lab.prune(tiny_lab(tmp_path, distillation=distillation, max_steps=1))
        history = History.read(tmp_path / "run" / "history.csv")
        losses += [history[0]["val/loss"], history[1]["val/loss_before_recovery"], history[1]["val/loss"]]
    assert plain[:2] == taught[:2]
    assert plain[2] != taught[2]
