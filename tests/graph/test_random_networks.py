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
from tests.networks.drawn import SIZE, networks

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


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(network=networks(), seed=st.integers(0, 9))
def test_any_network_is_cut_exactly_and_trains_on(network: nn.Module, seed: int) -> None:
    check(network, seed)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=networks(), seed=st.integers(0, 9))
def test_many_networks_are_cut_exactly_and_train_on(network: nn.Module, seed: int) -> None:
    check(network, seed)
