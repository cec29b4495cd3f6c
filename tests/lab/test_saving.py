"""A run finds out that its model can't be kept before anything is trained, and keeps it whatever happens later."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pruning_lab import lab
from pruning_lab.checkpoint import Builder, load
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.saving import keep, try_saving
from pruning_lab.models import UNet
from tests.networks.labs import tiny_lab


def sloped(slope: float) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.LeakyReLU(slope), nn.Conv2d(4, 2, 1))


def half_sloped() -> nn.Module:
    return sloped(0.5)


@pytest.mark.parametrize(
    ("builder", "told"),
    [
        (Builder("tests.lab.test_saving.half_sloped"), r"1\.negative_slope is 0\.1 in the model, 0\.5"),
        (Builder("nowhere.Net"), "nowhere.Net can't be imported"),
        (Builder("tests.lab.test_saving.sloped", {"slope": {1, 2}}), "can't be written as JSON"),
        (Builder("pruning_lab.models.UNet", {"width": 4}), "weights have"),
    ],
)
def test_a_model_that_does_not_come_back_stops_the_run_before_it_trains(
    builder: Builder, told: str, tmp_path: Path
) -> None:
    trained: list[Any] = []

    class Watched:
        def __call__(self, *args: Any) -> Any:
            trained.append(args)
            raise AssertionError("was trained")

    experiment = tiny_lab(tmp_path, build=lambda: sloped(0.1), builder=builder, loss=Watched())
    with pytest.raises(LabError, match=told) as caught:
        lab.prune(experiment)
    assert "the run is not begun" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not trained
    assert not list(experiment.output.folder.glob(".save-*"))


def test_a_folder_that_can_not_be_written_to_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    experiment = tiny_lab(tmp_path, folder=tmp_path / "file" / "run")
    with pytest.raises(LabError, match=r"nothing can be written in .*file"):
        try_saving(experiment, experiment.model.build())


def test_the_trial_leaves_model_graph_and_random_state_alone(tmp_path: Path) -> None:
    experiment = tiny_lab(tmp_path)
    model = experiment.model.build().eval()
    graph = ChannelGraph.trace(model, experiment.example())
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    groups, before = len(graph), torch.get_rng_state()
    try_saving(experiment, model, graph)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(graph) == groups
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_a_model_that_has_changed_by_the_end_is_kept_all_the_same(tmp_path: Path) -> None:
    experiment = tiny_lab(tmp_path)
    model = UNet(**experiment.model.builder.arguments).eval()
    graph = ChannelGraph.trace(model, experiment.example())
    model.inc.norm1.eps = 0.5
    told: list[str] = []
    experiment.output.reporter.warn = told.append  # type: ignore[method-assign]
    folder = keep(experiment, model, graph, {})
    assert "inc.norm1.eps is 0.5 in the model" in told[0]
    assert torch.equal(load(folder).inc.conv1.weight, model.inc.conv1.weight)
