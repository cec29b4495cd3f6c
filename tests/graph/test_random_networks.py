"""Properties that hold for every network: hypothesis builds them from all supported operators."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.cutting.cut import cut
from tests.graph.helpers import all_understood, cut_against_masked, draw
from tests.networks.drawn import SIZE, UNARY, RandomNetwork, networks

IMAGE = torch.randn(2, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def check(network: nn.Module, seed: int) -> None:
    graph = ChannelGraph.trace(network, IMAGE)
    assert all_understood(graph)
    groups = draw(graph, seed)
    assert verify(network, graph, groups, IMAGE) < 1e-8
    assert cut_against_masked(network, graph, draw(graph, seed, exact_only=True), (IMAGE,)) < 1e-8
    steps_of_training_agree_on_shapes(network, graph, groups)


def steps_of_training_agree_on_shapes(network: nn.Module, graph: ChannelGraph, groups: Tensor) -> None:
    """After a cut, training goes on, the graph knows every shape, and another cut of the same model is exact."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    step(network, optimizer)
    before = copy.copy(graph)
    cut(network, graph, groups, optimizer)
    step(network, optimizer)
    assert {name: tuple(value.shape) for name, value in network.named_parameters()} == {
        name: graph.tensors[name].shape for name, _ in network.named_parameters()
    }
    assert len(graph) == len(before) - int(groups.sum())
    assert verify(network.eval(), graph, draw(graph, 1, fraction=0.2), IMAGE) < 1e-8


def step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    network.train()(IMAGE).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("steps", "width", "seed"),
    [
        (["transposed, grouped", "mean", "relu", "mean"], 4, 4),
        (["softmax", "transposed, grouped", "group norm"], 4, 4),
        (["transposed, grouped", "einsum", "softmax"], 3, 8),
    ],
)
def test_what_a_fresh_reading_sees_more_coarsely_is_verified_as_a_whole(
    steps: list[str], width: int, seed: int
) -> None:
    """After a cut, a layer may be left with one channel, whose sums and products a reading can't tell apart."""
    network = in_a_row(steps, width)
    graph = ChannelGraph.trace(network, IMAGE, prove=False)
    for number in range(4):
        narrow, left = copy.deepcopy(network), copy.copy(graph)
        cut(narrow, left, draw(left, seed + number))
        assert verify(narrow, left, draw(left, 1, fraction=0.3), IMAGE) < 1e-8


@pytest.mark.parametrize("pad", [2, 3, 4, 5, 6])
def test_a_width_that_is_halved_is_not_kept_even_by_chance(pad: int) -> None:
    """Padded, halved and gated: filters that lie apart are claims apart, and each of them gave one in a trial."""
    steps = [("conv", 0, 0, 4), ("padded", 0, 0, pad), ("gated halves", 0, 0, 3), ("conv", 2, 0, 2), ("conv", 0, 0, 2)]
    network = RandomNetwork(steps, 71).double().eval()
    graph = ChannelGraph.trace(network, IMAGE)
    assert max(verify(network, graph, draw(graph, seed), IMAGE) for seed in range(6)) < 1e-8


def in_a_row(steps: list[str], width: int) -> nn.Module:
    """A network of these operators, each with two new channels where it can choose."""
    torch.manual_seed(0)
    layers, channels = [nn.Conv2d(3, width, 3, padding=1)], width
    for step in steps:
        layer, channels = UNARY[step](channels, 2)
        layers.append(layer)
    return nn.Sequential(*layers, nn.Conv2d(channels, 2, 3, padding=1)).double().eval()


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(network=networks(), seed=st.integers(0, 9))
def test_any_network_is_cut_exactly_and_trains_on(network: nn.Module, seed: int) -> None:
    check(network, seed)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=networks(), seed=st.integers(0, 9))
def test_many_networks_are_cut_exactly_and_train_on(network: nn.Module, seed: int) -> None:
    check(network, seed)
