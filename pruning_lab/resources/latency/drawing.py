"""Draws networks to time: widths of all kinds, so that every layer is met narrow and wide. Measures nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from torch import Tensor

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.latency.curves import EVEN

NARROWEST = 0.05
"""The least fraction of its groups that a layer keeps."""


def drawn(graph: ChannelGraph, step: int, seed: int = 0) -> Iterator[Tensor]:
    """Groups to remove, bool [n_groups], without end: first none, then nearly all, then drawn ones.

    In every second network layers are alike but for some percent, as pruning often leaves them; in the others each has
    a width of its own. Of each sort a third have widths that are multiples of `step`, where a width can be one, and a
    third have multiples of `EVEN`.
    """
    generator = random.Random(seed)
    parts = _parts(graph)
    yield torch.zeros(len(graph), dtype=torch.bool)
    yield _without(graph, parts, [NARROWEST * 2] * len(parts), step, generator)
    number = 0
    while True:
        common = generator.uniform(NARROWEST, 1) if number % 2 else None
        fractions = [
            generator.uniform(NARROWEST, 1) if common is None else min(1.0, common * generator.uniform(0.8, 1.2))
            for _ in parts
        ]
        yield _without(graph, parts, fractions, (step, 1, EVEN)[number // 2 % 3], generator)
        number += 1


def _without(
    graph: ChannelGraph, parts: list[list[int]], fractions: list[float], step: int, generator: random.Random
) -> Tensor:
    removed = torch.zeros(len(graph), dtype=torch.bool)
    for part, fraction in zip(parts, fractions, strict=True):
        keep = max(1, round(fraction * len(part)))
        if step > 1:
            keep = min(len(part), max(step, round(keep / step) * step))
        removed[generator.sample(part, len(part) - keep)] = True
    return removed


def _parts(graph: ChannelGraph) -> list[list[int]]:
    """Groups that may leave, by the set of layers that they have filters in."""
    owners: dict[int, list[str]] = {}
    for name, row in graph.layers.items():
        for group in row.unique().tolist():
            if group >= 0 and bool(graph.prunable[group]):
                owners.setdefault(group, []).append(name)
    parts: dict[tuple[str, ...], list[int]] = {}
    for group, names in owners.items():
        parts.setdefault(tuple(names), []).append(group)
    return list(parts.values())
