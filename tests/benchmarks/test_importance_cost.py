"""What scoring costs, as a ratio measured in one run: to the bare forward pass, or to forward and backward.

The aims are 1.1 for each; a busy machine gets some slack, and the measured ratio is printed (`pytest -s`). Methods of
weights alone are held against reading all the weights once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import (
    Ablation,
    Apoz,
    Downstream,
    Hessian,
    Importance,
    Ipad,
    MeanActivation,
    Taylor,
    WeightNorm,
    cross_entropy,
)
from pruning_lab.models import UNet

pytestmark = [pytest.mark.slow, pytest.mark.benchmark_ratio]

ROUNDS = 7
Lab = tuple[nn.Module, ChannelGraph, list[tuple[Tensor, Tensor]]]


class Block(nn.Sequential):
    """Twice: 3x3 convolution, batch norm, ReLU."""

    def __init__(self, channels: int, filters: int) -> None:
        layers: list[nn.Module] = []
        for inputs in (channels, filters):
            layers += [nn.Conv2d(inputs, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
        super().__init__(*layers)


class PlainUNet(nn.Module):
    """A U-Net of three levels with concatenated skip connections."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.ModuleList([Block(3, width), Block(width, 2 * width), Block(2 * width, 4 * width)])
        self.up = nn.ModuleList([Block(6 * width, 2 * width), Block(3 * width, width)])
        self.head = nn.Conv2d(width, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.down[0](image)
        second = self.down[1](F.max_pool2d(first, 2))
        deep = self.down[2](F.max_pool2d(second, 2))
        features = self.up[0](torch.cat([second, F.interpolate(deep, scale_factor=2, mode="bilinear")], 1))
        return self.head(self.up[1](torch.cat([first, F.interpolate(features, scale_factor=2, mode="bilinear")], 1)))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread, and processor time: what else the machine does then matters least."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def lab() -> Lab:
    torch.manual_seed(0)
    model = PlainUNet(16).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 96, 96))
    batches = [(torch.randn(4, 3, 96, 96), torch.randint(0, 4, (4, 96, 96))) for _ in range(4)]
    return model, graph, batches


def ratio(measured: Callable[[], object], bare: Callable[[], object]) -> float:
    """Ratio of processor seconds, each at its best of several rounds, in which the two take turns."""
    measured(), bare()
    pairs = [(_seconds(measured), _seconds(bare)) for _ in range(ROUNDS)]
    return min(one for one, _ in pairs) / min(other for _, other in pairs)


def _seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@pytest.mark.parametrize("method", [Ipad(), MeanActivation(), Apoz()], ids=lambda method: type(method).__name__)
def test_activations_cost_little_more_than_the_forward_pass(method: Importance, lab: Lab) -> None:
    model, graph, batches = lab

    @torch.no_grad()
    def forward() -> None:
        for image, _ in batches:
            model(image)

    found = ratio(lambda: method(model, graph, batches), forward)
    print(f"\n{type(method).__name__}: {found:.3f} x forward")
    assert found < 1.3


@pytest.mark.parametrize("method", [Taylor(), Hessian()], ids=lambda method: type(method).__name__)
def test_gradients_cost_no_more_than_forward_and_backward(method: Importance, lab: Lab) -> None:
    model, graph, batches = lab

    def forward_and_backward() -> None:
        for image, mask in batches:
            cross_entropy(model(image), mask).backward()
        model.zero_grad()

    found = ratio(lambda: method(model, graph, batches), forward_and_backward)
    print(f"\n{type(method).__name__}: {found:.3f} x forward and backward")
    assert found < 1.3


def test_looking_downstream_costs_milliseconds_above_the_own_score() -> None:
    model = UNet(in_channels=3, classes=4).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 64, 64))
    own, method = WeightNorm(), Downstream(WeightNorm())

    @torch.no_grad()
    def read() -> None:
        for parameter in model.parameters():
            parameter.abs().sum()

    runs = (read, lambda: own(model, graph, []), lambda: method(model, graph, []))
    # In turns, so that all three see the machine at its best.
    rounds = [[1000 * _seconds(run) for run in runs] for _ in range(5 * ROUNDS)]
    bare, alone, both = map(min, zip(*rounds, strict=True))
    weights, above = sum(parameter.numel() for parameter in model.parameters()), both - alone
    print(f"\nDownstream: {above:.2f} ms above its own score ({alone:.2f} ms) at {weights} weights")
    print(f"Downstream: {above / bare:.2f} x the bare reading of the weights ({bare:.2f} ms)")
    # The aim is 5 ms, of which one reading may take most; a method that read them twice would miss this bound.
    assert above < 2.5 * bare


def test_ablation_costs_less_than_half_of_brute_force() -> None:
    torch.manual_seed(0)
    model = PlainUNet(16).eval()
    image, mask = torch.randn(1, 3, 96, 96), torch.randint(0, 4, (1, 96, 96))
    graph = ChannelGraph.trace(model, image)
    method = Ablation()
    partial = _seconds(lambda: method(model, graph, [(image, mask)]))

    @torch.no_grad()
    def whole() -> None:
        for _ in range(int(graph.prunable.sum())):
            cross_entropy(model(image), mask)

    brute_force = _seconds(whole)
    saving = method.last_report.saving
    print(f"\nAblation: {saving:.2f} x fewer FLOPs, {brute_force / partial:.2f} x faster, export included")
    assert saving > 2
