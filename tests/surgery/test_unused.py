"""Layers that nothing reads are named, weighed, and leave only where the model runs without them just the same."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.checkpoint import load, read_architecture, save
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.surgery.unused import WithoutUnused, drop, drop_unused, dropped, unused_text, unused_weights
from tests.checkpoint.folders import edit
from tests.networks.two_paths import random_groups, traced

IMAGE = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)


class Wasteful(nn.Module):
    """`left` is never run, `tail` runs for nothing, `needed` runs for nothing but its result's size is looked at."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.left = nn.Sequential(nn.Conv2d(width, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))
        self.tail = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())
        self.needed = nn.Conv2d(width, 5, 1)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = torch.relu(self.first(image))
        self.tail(features)
        if self.needed(features).shape[1] != 5:
            raise RuntimeError("this part is missing")
        return self.head(features)


def test_largest_unused_parts_leave_and_those_that_the_code_needs_stay() -> None:
    model, _ = traced(Wasteful())
    before = model(IMAGE)
    assert drop_unused(model, IMAGE) == ["left", "tail"]
    assert dropped(model) == ["left", "tail"]
    assert torch.equal(model(IMAGE), before)
    assert isinstance(model.needed, nn.Conv2d)
    model.train()(torch.cat([IMAGE, IMAGE])).sum().backward()


def test_the_rest_is_pruned_saved_and_loaded_as_if_they_had_never_been(tmp_path: Path) -> None:
    model, _ = traced(Wasteful(8))
    drop_unused(model, IMAGE)
    graph = ChannelGraph.trace(model, IMAGE)
    cut(model, graph, random_groups(graph, 0.4))
    again = load(save(tmp_path, model, graph), trust=("tests",))
    assert read_architecture(tmp_path)["dropped"] == ["left", "tail"]
    assert torch.equal(again(IMAGE), model(IMAGE))
    assert not [name for name, _ in again.named_parameters() if name.startswith(("left", "tail"))]


def test_a_folder_that_drops_what_there_is_not_is_damaged(tmp_path: Path) -> None:
    model, _ = traced(Wasteful())
    drop_unused(model, IMAGE)
    save(tmp_path, model)
    edit(tmp_path, dropped=["right"])
    with pytest.raises(LabError, match="Wasteful has no part right"):
        load(tmp_path, trust=("tests",))


def test_a_model_that_uses_all_its_layers_is_left_alone() -> None:
    model, graph = traced()
    names = [name for name, _ in model.named_modules()]
    assert drop_unused(model, IMAGE) == []
    assert [name for name, _ in model.named_modules()] == names
    assert unused_text(graph) == ""


def test_looking_for_them_changes_neither_modes_nor_statistics() -> None:
    model = Wasteful().train()
    model.tail.eval()
    before = copy.deepcopy(model.state_dict())
    drop_unused(model, IMAGE)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_unused_layers_are_told_with_their_share_of_the_weights() -> None:
    model, graph = traced(Wasteful())
    unused = [model.left[0], model.left[2], model.tail[0], model.needed]
    weights = sum(parameter.numel() for part in unused for parameter in part.parameters())
    assert unused_weights(graph) == weights
    share = 100 * weights / sum(parameter.numel() for parameter in model.parameters())
    assert unused_text(graph).startswith("nothing reads left.0, left.2, tail.0 and 1 more: ")
    assert f"{share:.1f} % of the weights" in unused_text(graph)


def test_every_model_of_one_builder_lacks_the_same_parts() -> None:
    build = WithoutUnused(Wasteful, IMAGE)
    assert dropped(build()) == dropped(build()) == ["left", "tail"]


def test_the_look_at_the_first_model_costs_no_random_numbers() -> None:
    build = WithoutUnused(Wasteful, IMAGE)
    draws = []
    for _ in range(2):
        torch.manual_seed(5)
        build()
        draws.append(torch.rand(1))
    assert torch.equal(*draws)


def test_pspnet_loses_nine_tenths_of_its_weights() -> None:
    library = pytest.importorskip("segmentation_models_pytorch")
    model = library.PSPNet("resnet18", encoder_weights=None, classes=2).eval()
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert drop_unused(model, torch.zeros(1, 3, 64, 64)) == ["encoder.layer3", "encoder.layer4"]
    assert sum(parameter.numel() for parameter in model.parameters()) < 0.1 * weights


def test_dropping_what_there_is_not_is_named() -> None:
    with pytest.raises(LabError, match="Wasteful has no part nothing"):
        drop(Wasteful(), ["nothing"])
