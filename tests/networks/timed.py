"""A machine whose times are known, and a model of latency that was made of them: nothing waits for a clock."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.resources.latency.operators import Operators
from pruning_lab.resources.latency.store import Pass, Times
from pruning_lab.resources.latency.target import Target

CPU = Target().filled("cpu", "float32", False, (32, 32), 1)
WIDEST = 64


def layer_time(reads: int, gives: int, step: int) -> float:
    """Blocks in times blocks out, and something for the start."""
    return 0.2 + 0.4 * -(-reads // step) * -(-gives // step)


def predictor(model: nn.Module, graph: ChannelGraph, image: Tensor, step: int = 8) -> LatencyModel:
    """A model of latency for a network on the known machine."""
    operators, times = Operators(model, (image,), graph, None), Times(step, 0.001)
    widths = [1, 3, *range(step, WIDEST + 1, step), WIDEST + 1]
    for shape in {one.shape for one in operators.layers}:
        samples = itertools.product(widths, widths)
        times.layers[shape] = [(reads, gives, layer_time(reads, gives, step)) for reads, gives in samples]
    whole = operators.lengths(np.ones(operators.groups, dtype=bool))
    total = sum(layer_time(int(whole[one.reads]), int(whole[one.gives]), step) for one in operators.layers)
    times.add([], Pass(operators.digest, whole.tolist(), total, {}, {}, {}))
    return LatencyModel(operators, CPU, times)


def wide_chain(widths: tuple[int, ...] = (16, 32), size: int = 16) -> tuple[nn.Module, ChannelGraph, Tensor]:
    """Convolutions one after another, their graph, and an image."""
    torch.manual_seed(0)
    ends = itertools.pairwise([3, *widths, 2])
    model = nn.Sequential(*(nn.Conv2d(*pair, 3, padding=1) for pair in ends)).eval()
    image = torch.zeros(1, 3, size, size)
    return model, ChannelGraph.trace(model, image), image
