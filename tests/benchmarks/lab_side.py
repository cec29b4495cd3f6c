"""What the tables say of pruning_lab: seconds, bytes and exactness. Each function is run in a process of its own."""

from __future__ import annotations

import copy
import math
from collections import Counter
from typing import Any

import torch
from torch import nn

from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.importance import Uniform, WeightNorm
from tests.benchmarks.cases import Inputs, make
from tests.benchmarks.timing import forward_seconds, seconds, size_of_object
from tests.graph.helpers import draw

EXACT = 1e-4
STEPS = 100
ASIDE = ("feeds the model's output", "runs only in training", "its result is used only in training")
"""Reasons for which nobody would cut a filter."""


def speed(name: str) -> dict[str, Any]:
    """Seconds to read the graph without and with trials, for one cut to half of the groups, and for 100 such steps."""
    _warm_up()
    model, inputs = make(name)
    graph = ChannelGraph.trace(model, inputs)
    return {
        "forward_s": forward_seconds(model, inputs),
        "build_s": seconds(lambda: ChannelGraph.trace(model, inputs, prove=False), repeats=3),
        "proved_build_s": seconds(lambda: ChannelGraph.trace(model, inputs), repeats=3),
        "cut_s": _steps(copy.deepcopy(model), copy.copy(graph), 1),
        "steps_s": _steps(model, copy.copy(graph), STEPS),
        "groups": len(graph),
        "graph_bytes": size_of_object(graph),
        "activation_bytes": _activation_bytes(graph),
    }


def _warm_up() -> None:
    """The first trace of a process imports half of torch; that is paid once, whatever the model."""
    ChannelGraph.trace(nn.Conv2d(3, 2, 1), torch.zeros(1, 3, 4, 4))


def _steps(model: nn.Module, graph: ChannelGraph, number: int) -> float:
    """Seconds of so many steps (score, take the lowest, cut) that together take half of every layer's groups.

    Floors and budgets, which the peer does not know, are left out.
    """
    importance = Uniform(WeightNorm())
    share = math.ceil(int(graph.prunable.sum()) / 2 / number)

    def run() -> None:
        for _ in range(number):
            scores = importance(model, graph, [])
            cut(model, graph, scores.masked_fill(~graph.prunable, math.inf).topk(share, largest=False).indices)

    return seconds(run, repeats=1)


def _activation_bytes(graph: ChannelGraph) -> int:
    """All values of a forward pass together, as training would keep them."""
    assert graph.memory is not None
    return graph.memory.total_bytes()


def coverage(name: str) -> dict[str, Any]:
    """Groups, what is frozen and why, and whether a random half of what can be cut is cut exactly."""
    _warm_up()
    model, inputs = make(name)
    forward_s = forward_seconds(model, inputs)
    build_s = seconds(lambda: ChannelGraph.trace(model, inputs), repeats=3)
    graph = ChannelGraph.trace(model, inputs)
    groups = draw(graph, 0)
    difference = verify(model, graph, groups, inputs)
    filters, frozen = _frozen(graph)
    return {
        "forward_s": forward_s,
        "build_s": build_s,
        "groups": len(graph),
        "frozen_share": frozen / filters if filters else 0.0,
        "reasons": _reasons(graph),
        "difference": difference,
        "exact": difference < EXACT,
        "mixes": bool((groups & graph.mixing).any()),
        "cut_s": seconds(lambda: cut(model, graph, groups), repeats=1),
        "runs": _runs(model, inputs),
    }


def _frozen(graph: ChannelGraph) -> tuple[int, int]:
    """Filters that one might cut, and those of them that can't be."""
    rows = [row for name, row in graph.layers.items() if graph.frozen.get(name) not in ASIDE]
    ids = torch.cat(rows) if rows else torch.empty(0, dtype=torch.int64)
    return len(ids), len(ids) - int(graph.prunable[ids[ids >= 0]].sum())


def _reasons(graph: ChannelGraph) -> list[str]:
    """Why filters are frozen, the commonest reason first, without the names of layers."""
    told = [why.partition(" filters: ")[2] or why for why in graph.frozen.values() if why not in ASIDE]
    return [reason for reason, _ in Counter(told).most_common(2)]


@torch.no_grad()
def _runs(model: nn.Module, inputs: Inputs) -> bool:
    model(*inputs)
    return True
