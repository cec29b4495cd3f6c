"""Whatever a network is built from: a cut equals the mask, the rest stays bit for bit, and it trains on."""

from __future__ import annotations

import copy

import pytest
import torch

from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.surgery import cut
from tests.graph.helpers import cut_against_masked, draw, tensors_in
from tests.graph.networks import CASES, make


@pytest.mark.parametrize("name", CASES)
def test_a_cut_equals_the_mask(name: str) -> None:
    model, inputs = make(name)
    graph = ChannelGraph.trace(model, inputs)
    for seed in range(4):
        groups = draw(graph, seed, exact_only=True)
        if groups.any():
            assert cut_against_masked(model, graph, groups, inputs) < 1e-4
        assert verify(model, graph, draw(graph, seed), inputs) < 1e-4
