"""What a model of latency makes of times that are known: what is put in another order, and networks looked up once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pruning_lab.graph import ChannelGraph
from pruning_lab.models import UNet
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.resources.latency.operators import LAYER, OFF_STEP, Operators
from pruning_lab.resources.latency.profiles import LayerTime
from pruning_lab.resources.latency.store import Pass, Times
from tests.networks.timed import CPU, predictor

IMAGE = torch.zeros(1, 3, 32, 32)
STEP = 8
KINDS = (LAYER, "cat")


def unet(width: int = 16) -> tuple[Operators, ChannelGraph]:
    torch.manual_seed(0)
    model = UNet(3, 2, width=width, depth=2).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    return Operators(model, (IMAGE,), graph, None), graph


def narrowed(graph: ChannelGraph, keep: int) -> torch.Tensor:
    """Without all but so many filters of each layer that may be cut."""
    removed = torch.zeros(len(graph), dtype=torch.bool)
    for row in graph.layers.values():
        removed[row[(row >= 0) & graph.prunable[row]][keep:]] = True
    return removed


@pytest.mark.parametrize("keep", [8, 7])
def test_elements_off_the_step_are_counted_by_themselves(keep: int) -> None:
    operators, graph = unet()
    lengths = operators.lengths(operators.alive(graph.without(narrowed(graph, keep))))
    plain, with_step = operators.numbers_of_elements(lengths), operators.numbers_of_elements(lengths, STEP)
    assert {kind: with_step[kind] for kind in plain} == plain
    own_output = 2 * 32 * 32  # the two classes are no multiple either
    for kind in KINDS:
        off_step = with_step[kind + OFF_STEP]
        assert off_step == {8: own_output if kind == LAYER else 0, 7: plain[kind]}[keep]


def test_convolutions_of_different_dilation_have_times_of_their_own() -> None:
    """A runtime tells of four convolutions of one shape, some of equal widths: the order tells which is which."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.Conv2d(8, 8, 3, padding=12, dilation=12),
        torch.nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        torch.nn.Conv2d(8, 8, 3, padding=1),
    ).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    operators = Operators(model, (IMAGE,), graph, None)
    shape = "conv 3x3 32x32 to 32x32"
    wanted = [shape, f"{shape} dilated 12x12", f"{shape} dilated 2x2", shape]
    assert [one.shape for one in operators.layers] == wanted
    lengths = operators.lengths(operators.alive(graph))
    seen = [LayerTime(shape, reads, 8, time) for reads, time in ((8, 1.0), (3, 2.0), (8, 3.0), (8, 4.0))]
    told = operators.told(seen, lengths)
    assert sorted((one.time, one.reads, one.shape) for one in told) == [
        (1.0, 8, wanted[1]),
        (2.0, 3, wanted[0]),
        (3.0, 8, wanted[2]),
        (4.0, 8, wanted[3]),
    ]


@pytest.mark.parametrize("layer", [torch.nn.Conv2d(4, 4, 3, dilation=3), torch.nn.ConvTranspose2d(4, 4, 3, dilation=3)])
def test_a_dilation_is_read_off_any_convolution(layer: torch.nn.Module) -> None:
    image = torch.zeros(1, 4, 16, 16)
    graph = ChannelGraph.trace(layer.eval(), image)
    assert [one.shape.endswith(" dilated 3x3") for one in Operators(layer, (image,), graph, None).layers] == [True]


def test_what_is_put_in_another_order_costs() -> None:
    """A runtime that only tells what all others took: 1 for each million of elements, and 5 more off the step."""
    operators, graph = unet()
    times = Times(STEP, 1.0)
    generator = np.random.default_rng(0)

    def cost(elements: dict[str, float]) -> float:
        return sum(elements[kind] + 5 * elements[kind + OFF_STEP] for kind in KINDS) / 1e6

    def elements(removed: torch.Tensor) -> tuple[np.ndarray, dict[str, float]]:
        lengths = operators.lengths(operators.alive(graph.without(removed)))
        return lengths, operators.numbers_of_elements(lengths, STEP)

    for keep in (16, 8, 7, 3, 12, 13, 5, 10):
        lengths, found = elements(narrowed(graph, keep) & torch.from_numpy(generator.random(len(graph)) < 0.9))
        times.add([], Pass(operators.digest, lengths.tolist(), cost(found), found, operators.counts, {"": cost(found)}))
    model = LatencyModel(operators, CPU, times)
    for keep in (4, 8, 9, 16):
        removed = narrowed(graph, keep)
        assert model.seconds(graph, removed) == pytest.approx(cost(elements(removed)[1]), rel=0.1)


def test_a_network_that_is_looked_up_once_takes_as_long_as_one_that_is_cut() -> None:
    torch.manual_seed(0)
    network = UNet(3, 2, width=16, depth=2).eval()
    graph = ChannelGraph.trace(network, IMAGE)
    model = predictor(network, graph, IMAGE)
    first, second = narrowed(graph, 12), narrowed(graph, 5)
    left = graph.without(first)
    later = model.of(left)
    assert later.whole == pytest.approx(model.seconds(graph, first))
    assert later.seconds() == later.whole
    assert later.seconds(second[~first]) == pytest.approx(model.seconds(graph, first | second))
