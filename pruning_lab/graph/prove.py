"""Trial cuts on copies of a model: is a cut what the graph says it is?"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from pruning_lab.graph.channel_graph import ChannelGraph
from pruning_lab.surgery import cut, mask


@torch.no_grad()
def verify(model: nn.Module, graph: ChannelGraph, groups: Tensor, inputs: Tensor) -> float:
    """Largest difference between a cut and a masked copy's outputs, relative to the largest output."""
    masked, smaller = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    mask(masked, graph, groups)
    cut(smaller, copy.deepcopy(graph), groups)
    expected = masked(inputs)
    return float((smaller(inputs) - expected).abs().max() / expected.abs().max())
