"""Groups that leave together, so that a layer reaches the next width at which it is faster. Knows a model of latency.

Time falls in steps: a group that leaves a layer in the middle of one saves nothing. For each set of groups that are in
the same layers the candidates are the widths just below a step, and the groups of lowest score leave first. Which
blocks leave is a knapsack: the least score for the saving that a step needs. Blocks are taken by their score over their
saving, along the lower hull of each layer's candidates; what that costs above the best choice is less than the score of
the last block (Dantzig 1957). Source: Shen et al., "Structural pruning via latency-saliency knapsack" (2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.latency.curves import EVEN
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.selection.floors import LayerFloors

MOST_CANDIDATES = 16
"""Widths below the present one that are looked at in a layer."""

NOTHING = 1e-4
"""A saving below this share of the network's time is none."""


@dataclass(frozen=True)
class Block:
    """Groups that leave together.

    Attributes:
        groups: the ids, the lowest score first.
        part: a number that it shares with the blocks of the same layers; of those the earlier one leaves first.
        ends: how many of them may leave at once, ascending; the last number is all of them.
    """

    groups: list[int]
    part: int
    ends: tuple[int, ...]


@dataclass(frozen=True)
class _Part:
    """Groups that are in the same layers, those of lowest score first; `widths`: how many of them may leave at once."""

    groups: np.ndarray
    widths: list[int]


def latency_blocks(
    scores: Tensor,
    graph: ChannelGraph,
    floors: LayerFloors,
    model: LatencyModel,
    matters: float = 1.0,
    besides: np.ndarray | None = None,
    multiple: int = 1,
) -> list[Block]:
    """The blocks that save time, the cheapest first.

    Args:
        scores: float [n_groups]; groups of infinite score are in no block.
        matters: how much the saved fraction of the whole network's time counts.
        besides: what else each group saves, float [n_groups], in the same unit.
        multiple: widths are left at multiples of it as well.
    """
    worth = scores.double().numpy()
    parts = _parts(worth, graph, floors, (model.step, multiple))
    if not parts:
        return []
    now = model.of(graph)
    lengths = [now.lengths - now.counts[part.groups].cumsum(axis=0)[np.array(part.widths) - 1] for part in parts]
    times = model.seconds_of(np.rint(np.concatenate([now.lengths[None], *lengths])).astype(np.int64))
    savings = np.split((times[0] - times[1:]) / model.whole, np.cumsum([len(part.widths) for part in parts])[:-1])
    blocks: list[tuple[float, Block]] = []
    for number, (part, saved) in enumerate(zip(parts, savings, strict=True)):
        total = matters * saved
        if besides is not None:
            total = total + np.cumsum(besides[part.groups])[np.array(part.widths) - 1]
        blocks += _hull(part, number, total, np.cumsum(worth[part.groups]), NOTHING * times[0] / model.whole)
    return [block for _, block in sorted(blocks, key=lambda block: block[0])]


def _hull(part: _Part, number: int, savings: np.ndarray, costs: np.ndarray, least: float) -> list[tuple[float, Block]]:
    """(score per saving, block) in the order in which they leave a part: each is the best from where it starts."""
    blocks: list[tuple[float, Block]] = []
    start, saved, cost = 0, 0.0, 0.0
    widths = np.array(part.widths)
    while True:
        ahead = np.flatnonzero((widths > start) & (savings > saved + least))
        if not len(ahead):
            return blocks
        rates = (costs[widths[ahead] - 1] - cost) / (savings[ahead] - saved)
        chosen = int(ahead[rates.argmin()])
        end = int(widths[chosen])
        ends = tuple(width - start for width in part.widths if start < width <= end)
        blocks.append((float(rates.min()), Block(part.groups[start:end].tolist(), number, ends)))
        start, saved, cost = end, float(savings[chosen]), float(costs[end - 1])


def _parts(worth: np.ndarray, graph: ChannelGraph, floors: LayerFloors, multiples: tuple[int, int]) -> list[_Part]:
    """Groups that may leave, by the layers that they are in."""
    marks = np.random.default_rng(0).integers(1, 2**62, len(graph.layers), dtype=np.int64)
    layers = [row.numpy() for row in graph.layers.values()]
    marked = np.zeros(len(graph), dtype=np.int64)
    for mark, row in zip(marks, layers, strict=True):
        marked[np.unique(row[row >= 0])] ^= mark
    free = np.flatnonzero(graph.prunable.numpy() & np.isfinite(worth))
    parts = []
    for mark in dict.fromkeys(marked[free].tolist()):
        groups = free[marked[free] == mark]
        groups = groups[worth[groups].argsort(kind="stable")]
        widths = _widths(groups, graph, floors.least, *multiples)
        if widths:
            parts.append(_Part(groups, widths))
    return parts


def _widths(
    groups: np.ndarray, graph: ChannelGraph, least: Mapping[tuple[str, str], float], step: int, multiple: int
) -> list[int]:
    """How many of these groups may leave so that a layer reaches a width that may be faster, ascending.

    Those are the multiples of the step; below the first one those of `EVEN`, as what does not depend on blocks still
    becomes less; below that all. All of them are multiples of `multiple` too.
    """
    most, sizes = len(groups), list[tuple[int, int]]()
    for name, row in graph.layers.items():
        each = int((row.numpy() == groups[0]).sum())
        if each:
            stay = max(1, np.ceil(least.get(("filters", name), 0)))
            most = min(most, int((len(row) - stay) // each))
            sizes.append((len(row), each))
    if step == multiple == 1:
        stride = max(1, len(groups) // MOST_CANDIDATES)
        return list(range(stride, most + 1, stride))[:MOST_CANDIDATES]

    def is_fast(width: int) -> bool:
        return width % multiple == 0 and (width % step == 0 or (width < step and (width % EVEN == 0 or width < EVEN)))

    found = [count for count in range(1, most + 1) if any(is_fast(size - count * each) for size, each in sizes)]
    return found[:MOST_CANDIDATES] or ([most] if most > 0 else [])
