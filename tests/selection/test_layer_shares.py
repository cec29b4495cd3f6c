"""A group's score as a share of its layers', for ranks per saving."""

import torch
from torch import nn

from pruning_lab.resources.counting import measure
from pruning_lab.selection import All, Groups, Selection
from pruning_lab.selection.floors import LayerFloors
from pruning_lab.selection.layer_shares import shares_of_layers
from tests.networks.two_paths import traced


def test_shares_of_a_layer_add_up_to_one_whatever_its_scale_and_width() -> None:
    _, graph = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 40, 3), nn.Conv2d(40, 2, 1)))
    scores = torch.rand(len(graph), generator=torch.Generator().manual_seed(0)) + 0.1
    scores[graph.layers["1"]] *= 1000
    shares = shares_of_layers(scores, graph)
    assert all(torch.isclose(shares[row].sum(), torch.tensor(1.0).double()) for row in graph.layers.values())
    assert bool((shares[graph.layers["0"]].argsort() == scores[graph.layers["0"]].argsort()).all())


def test_a_group_of_several_layers_has_the_shares_of_all_of_them() -> None:
    _, graph = traced()
    tied = graph.layers["first"]  # added to the depthwise layer's output, and so in its filters as well
    shares = shares_of_layers(torch.ones(len(graph)), graph)
    layers = sum(bool(torch.isin(tied, row).any()) for row in graph.layers.values())
    assert layers > 1
    assert torch.isclose(shares[tied].sum(), torch.tensor(float(layers)).double())


def test_infinite_scores_stay_and_layers_without_a_score_are_left_alone() -> None:
    _, graph = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)))
    scores = torch.zeros(len(graph))
    scores[0] = torch.inf
    shares = shares_of_layers(scores, graph)
    assert shares[0] == torch.inf
    assert not bool(shares[1:].any())


def test_per_saving_a_wide_layer_gives_before_a_narrow_one_that_takes_as_much() -> None:
    """A layer of 4 filters and one of 64 that reads it; all scores are alike."""
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 64, 3, padding=1), nn.Conv2d(64, 16, 1)]
    _, graph = traced(nn.Sequential(*layers), size=32)

    def leaves(share_of_layer: bool) -> str:
        selection = Selection(Groups(1), per_saving=True, share_of_layer=share_of_layer)
        equal = torch.ones(len(graph))
        chosen = selection(equal, graph, LayerFloors({}), All(flops=0.01), measure(graph)).groups
        return next(name for name, row in graph.layers.items() if bool(chosen[row].any()))

    assert leaves(share_of_layer=True) == "2"
    assert leaves(share_of_layer=False) == "0"
