"""What least squares costs on the network of the default config, in forward passes of the same process."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from pruning_lab.compensation import Before, LeastSquares
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Uniform, WeightNorm
from pruning_lab.models import UNet
from pruning_lab.surgery import cut

PASSES = 75
"""Forward passes of the base over one image, of 7.5 billion multiply-adds each, that least squares may take in all."""


def spent(work: Callable[[], object]) -> float:
    """Seconds of the processor, of all threads together."""
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.mark.slow
@pytest.mark.benchmark_ratio
def test_least_squares_of_the_default_network_costs_no_more_than_75_images() -> None:
    torch.manual_seed(0)
    model = UNet(in_channels=3, classes=4, width=64, depth=4).eval()
    images = torch.randn(48, 3, 96, 128)
    graph = ChannelGraph.trace(model, images[:1])
    lowest = Uniform(WeightNorm())(model, graph, []).masked_fill(~graph.prunable, torch.inf)
    before = Before.of(model, graph)
    cut(model, graph, lowest.topk(int(0.3 * int(graph.prunable.sum())), largest=False).indices)
    with torch.no_grad():
        one = spent(lambda: before.model(images[:4])) / 4
    reports = []
    seconds = spent(lambda: reports.append(LeastSquares()(before, model, graph, [(images, images)])))
    assert reports[0].kept
    assert reports[0].passes == 3
    assert seconds < PASSES * one
