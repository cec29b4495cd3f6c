"""Connections given by hand: they override the trace, stand in for it, and are checked by shape and by running."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.cutting.cut import cut
from tests.graph.helpers import cut_against_masked, draw
from tests.networks.constructs import make
from tests.networks.parts import Apply, conv, slope

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class SkipWithASlope(nn.Module):
    """A small U-Net whose forward differentiates, so that it can't be recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv(3, 4)
        self.norm = nn.BatchNorm2d(4)
        self.down = conv(4, 6, stride=2)
        self.spread = conv(6, 6, groups=6)
        self.up = nn.ConvTranspose2d(6, 5, 2, 2)
        self.last = conv(9, 2)

    def forward(self, image: Tensor) -> Tensor:
        if slope(image).abs().max() > 1e6:
            return image
        first = torch.relu(self.norm(self.first(image)))
        return self.last(torch.cat([self.up(self.spread(self.down(first))), first], 1))


def connections(layer: str, index: int, consumer: str) -> int | None:
    return {
        ("first", "down"): index,
        ("first", "last"): 5 + index,
        ("down", "spread"): index,
        ("spread", "up"): index,
        ("up", "last"): index,
    }.get((layer, consumer))


@pytest.fixture
def sloping() -> nn.Module:
    torch.manual_seed(0)
    model = SkipWithASlope().eval()
    model.norm.running_mean.normal_()
    return model


def test_a_model_that_cannot_be_recorded_is_cut_along_connections(sloping: nn.Module) -> None:
    graph = ChannelGraph.trace(sloping, IMAGE, connections=connections)
    assert graph.frozen == {"last": "connections names no consumer of it"}
    assert graph.group(1).filters == [("first", 1)]
    assert graph.group(1).consumers == [("down", 1), ("last", 6)]
    spread = int(graph.layers["spread"][0])
    assert graph.group(spread).filters == [("down", 0), ("spread", 0)]
    for seed in range(3):
        assert cut_against_masked(sloping, graph, draw(graph, seed), (IMAGE,)) < 1e-5
    assert verify(sloping, graph, draw(graph, 1), IMAGE) < 1e-5


def test_the_normalization_behind_a_layer_is_found_without_a_word(sloping: nn.Module) -> None:
    graph = ChannelGraph.trace(sloping, IMAGE, connections=connections)
    cut(sloping, graph, [0])
    assert sloping.norm.num_features == 3
    assert len(sloping.norm.running_mean) == 3


def test_by_hand_and_by_trace_give_the_same_groups_and_costs(sloping: nn.Module) -> None:
    by_hand = ChannelGraph.trace(sloping, IMAGE, connections=connections)

    class Straight(SkipWithASlope):
        def forward(self, image: Tensor) -> Tensor:
            first = torch.relu(self.norm(self.first(image)))
            return self.last(torch.cat([self.up(self.spread(self.down(first))), first], 1))

    traced = ChannelGraph.trace(Straight().eval(), IMAGE)
    assert {name: row.tolist() for name, row in by_hand.layers.items()} == {
        name: row.tolist() for name, row in traced.layers.items()
    }
    assert [by_hand.group(i) for i in range(len(by_hand))] == [traced.group(i) for i in range(len(traced))]
    assert [(t.layer, t.coefficient) for t in by_hand.costs] == [(t.layer, t.coefficient) for t in traced.costs]


def test_indices_stay_the_originals_while_channels_leave(sloping: nn.Module) -> None:
    graph = ChannelGraph.trace(sloping, IMAGE, connections=connections)
    cut(sloping, graph, [1])
    cut(sloping, graph, [1])
    assert graph.original["first"].tolist() == [0, 3]
    assert graph.group(1).consumers == [("down", 1), ("last", 6)]
    assert sloping(IMAGE).shape == (2, 2, 8, 8)


def test_connections_may_name_several_channels_and_join_layers() -> None:
    """A residual add: both layers feed the same channels, so their filters leave together."""

    class Add(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.last = conv(3, 4), conv(3, 4), conv(8, 2)

        def forward(self, image: Tensor) -> Tensor:
            summed = self.one(image) + self.two(image)
            return self.last(torch.cat([summed, summed], 1)) if summed.numel() and slope(summed).sum() < 1e9 else image

    model = Add().eval()
    graph = ChannelGraph.trace(
        model, IMAGE, connections=lambda layer, i, consumer: [i, i + 4] if consumer == "last" != layer else None
    )
    assert graph.group(2).filters == [("one", 2), ("two", 2)]
    assert graph.group(2).consumers == [("last", 2), ("last", 6)]
    assert cut_against_masked(model, graph, draw(graph, 0), (IMAGE,)) < 1e-5


def test_right_connections_for_one_layer_change_nothing() -> None:
    model, inputs = make("dense connections")
    found = ChannelGraph.trace(model, inputs)
    offsets = {"two": 3, "three": 5, "last": 3}
    given = ChannelGraph.trace(
        model,
        inputs,
        connections=lambda layer, i, consumer: offsets[consumer] + i if layer == "one" and consumer != "one" else None,
    )
    assert [found.group(i) for i in range(len(found))] == [given.group(i) for i in range(len(given))]


def test_wrong_connections_are_found_by_running_and_name_the_layer() -> None:
    model, inputs = make("dense connections")
    with pytest.raises(LabError, match="connections for layer one don't fit the model") as caught:
        ChannelGraph.trace(
            model, inputs, connections=lambda layer, i, consumer: i if (layer, consumer) == ("one", "two") else None
        )
    assert "\n" not in str(caught.value)


def test_wrong_connections_of_a_model_that_cannot_be_recorded_are_found_too(sloping: nn.Module) -> None:
    def shifted(layer: str, index: int, consumer: str) -> int | None:
        return index if (layer, consumer) == ("first", "last") else connections(layer, index, consumer)

    with pytest.raises(LabError, match=r"connections for layer (first|up) don't fit"):
        ChannelGraph.trace(sloping, IMAGE, connections=shifted)


def test_a_channel_that_the_consumer_does_not_have_is_refused(sloping: nn.Module) -> None:
    with pytest.raises(LabError, match=r"channel 9 of last for filter 4 of up.*9 channels"):
        ChannelGraph.trace(
            sloping,
            IMAGE,
            connections=lambda layer, i, consumer: 5 + i if (layer, consumer) == ("up", "last") else None,
        )


def test_an_error_in_the_users_function_is_told_with_its_place(sloping: nn.Module) -> None:
    with pytest.raises(LabError, match="KeyError for filter 0 of first and consumer first"):
        ChannelGraph.trace(sloping, IMAGE, connections=lambda layer, i, consumer: {}[layer])


def test_filters_without_a_word_stay(sloping: nn.Module) -> None:
    def partly(layer: str, index: int, consumer: str) -> int | None:
        return None if (layer, index) == ("up", 2) else connections(layer, index, consumer)

    graph = ChannelGraph.trace(sloping, IMAGE, connections=partly)
    assert graph.frozen["up"] == "1 of 5 filters: connections names no consumer of it"
    assert not graph.prunable[graph.layers["up"][2]]


def test_asking_changes_nothing_in_the_model(sloping: nn.Module) -> None:
    before = copy.deepcopy(sloping.state_dict())
    ChannelGraph.trace(sloping.train(), IMAGE, connections=connections)
    assert sloping.training
    assert all(torch.equal(value, before[key]) for key, value in sloping.state_dict().items())
    assert not sloping.first._forward_hooks


def test_an_override_of_a_functional_network_keeps_the_rest() -> None:
    model = Apply(lambda m, x: m.last(torch.relu(m.one(x))), one=conv(3, 4), last=conv(4, 2)).eval()
    graph = ChannelGraph.trace(
        model, IMAGE, connections=lambda layer, i, consumer: i if (layer, consumer) == ("one", "last") else None
    )
    assert cut_against_masked(model, graph, draw(graph, 0), (IMAGE,)) < 1e-5
