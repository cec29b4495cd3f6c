"""The masked network whose normalizations see only what is left."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.build import read_graph
from pruning_lab.graph.cutting.mask import mask
from pruning_lab.graph.proof.masked_reference import run_without
from tests.networks.parts import conv


@pytest.mark.parametrize("middle", ["weight norm", "einsum"])
def test_a_layer_of_which_nothing_is_left_gives_zeros(middle: str) -> None:
    layers = {
        "weight norm": lambda: nn.utils.parametrizations.weight_norm(conv(4, 6)),
        "einsum": lambda: _Product(4, 6),
    }
    network = nn.Sequential(conv(3, 4), layers[middle](), conv(6, 2)).eval()
    image = torch.randn(1, 3, 8, 8)
    graph, reading = read_graph(network, (image,))
    assert reading.tape is not None
    gone = torch.zeros(len(graph), dtype=torch.bool)
    gone[graph.layers["1"]] = True
    mask(network, graph, gone)
    labels = graph.taken(gone, reading.group_of_label)
    tape = reading.tape
    given = dict(zip(tape.inputs, (image,), strict=True))
    (found,) = run_without(tape.steps, given, tape.outputs, reading.values, labels, network)
    expected = network[2](torch.zeros(1, 6, 8, 8))
    torch.testing.assert_close(found, expected)


class _Product(nn.Module):
    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, channels))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nchw,oc->nohw", image, self.weight)


def test_a_group_norm_of_single_channels_has_as_many_groups_as_are_left() -> None:
    """A softmax over channels needs the reference, which then runs the norm over what is left as well."""
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.GroupNorm(6, 6), nn.Softmax(1), nn.Conv2d(6, 2, 1)).eval()
    image = torch.randn(2, 3, 4, 4)
    graph = ChannelGraph.trace(model, image)
    assert verify(model, graph, [1, 4], image) < 1e-9
