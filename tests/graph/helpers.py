"""What the graph's tests share: random groups, outputs as a flat list, and the comparison of cut with masked."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of
from pruning_lab.common.modules import tensors_in
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.cutting.mask import mask


def draw(graph: ChannelGraph, seed: int, fraction: float = 0.5, exact_only: bool = False) -> Tensor:
    """Random prunable groups, bool [n_groups], that leave every layer a filter."""
    generator = torch.Generator().manual_seed(seed)
    chosen = (torch.rand(len(graph), generator=generator) < fraction) & graph.prunable
    if exact_only:
        for name in graph.mixed:
            row = graph.layers[name]
            chosen[row[row >= 0]] = False
    while emptied := graph.emptied(chosen):
        row = graph.layers[emptied[0]]
        chosen[row[int(torch.randint(len(row), (), generator=generator))]] = False
    return chosen


def all_understood(graph: ChannelGraph) -> bool:
    """Whether there was a rule for every operator; one without a rule freezes what it reads."""
    return not any("has no rule" in why for why in graph.frozen.values())


def difference(one: object, other: object) -> float:
    """Largest difference between two outputs, relative to the largest value."""
    pairs = list(zip(tensors_in(one), tensors_in(other), strict=True))
    assert pairs
    return max(float(((a - b).abs().max() / b.abs().max().clamp(min=1e-12)).detach()) for a, b in pairs)


@torch.no_grad()
def cut_against_masked(model: nn.Module, graph: ChannelGraph, groups: Tensor, inputs: tuple[Tensor, ...]) -> float:
    """Relative difference between a cut and a masked copy; the model stays as it is."""
    masked, small = copy_of(model), copy_of(model)
    mask(masked, graph, groups)
    cut(small, copy.copy(graph), groups)
    return difference(small(*inputs), masked(*inputs))
