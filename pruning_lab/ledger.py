"""Running totals of a model's resources while groups are struck off one by one, before anything is cut.

Knows the graph's arrays and `resources`. Striking off one group touches only the terms that the group occurs in.
"""

from __future__ import annotations

import math

import numpy as np

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources import group_counts, terms


class Ledger:
    """MACs, weights and filters, in total and by layer, minus the groups that were struck off.

    Attributes:
        totals: `macs` and `weights` of the whole model.
        by_layer: (kind, layer) -> macs, weights or filters of that layer.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        self.totals = {"macs": 0, "weights": 0}
        self.by_layer: dict[tuple[str, str], int] = {}
        self._terms: list[tuple[str, str, int, list[int], int]] = []
        self._entries: dict[int, list[tuple[int, np.ndarray]]] = {}
        for term in terms(graph):
            self._add(term.kind, term.layer, term.coefficient, term.factors)
        for name, row in graph.layers.items():
            self._add("filters", name, 1, (row,))

    def _add(self, kind: str, layer: str, coefficient: int, factors: tuple) -> None:
        lengths = [len(row) for row in factors]
        size = coefficient * math.prod(lengths)
        self._terms.append((kind, layer, coefficient, lengths, size))
        self._book(kind, layer, size)
        index = len(self._terms) - 1
        for groups, counts in group_counts(factors):
            for group, count in zip(groups.tolist(), counts, strict=True):
                self._entries.setdefault(group, []).append((index, count))

    def _book(self, kind: str, layer: str, amount: int) -> None:
        if kind in self.totals:
            self.totals[kind] += amount
        self.by_layer[kind, layer] = self.by_layer.get((kind, layer), 0) + amount

    def changes(self, group: int) -> dict[tuple[str, str], int]:
        """(kind, layer) -> what that layer would lose with this group."""
        lost: dict[tuple[str, str], int] = {}
        for index, count in self._entries.get(group, ()):
            kind, layer, coefficient, lengths, size = self._terms[index]
            rest = coefficient * math.prod(n - c for n, c in zip(lengths, count.tolist(), strict=True))
            lost[kind, layer] = lost.get((kind, layer), 0) + size - rest
        return lost

    def strike(self, group: int) -> None:
        """Take a group off the totals."""
        for index, count in self._entries.pop(group, ()):
            kind, layer, coefficient, lengths, size = self._terms[index]
            left = [n - c for n, c in zip(lengths, count.tolist(), strict=True)]
            rest = coefficient * math.prod(left)
            self._terms[index] = (kind, layer, coefficient, left, rest)
            self._book(kind, layer, rest - size)
