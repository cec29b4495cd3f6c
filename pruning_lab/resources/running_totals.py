"""Running totals of a model's resources while groups are struck off one by one, before anything is cut.

Knows the graph's arrays and `resources`. Striking off one group touches only the terms that the group occurs in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from torch import Tensor

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.counting import Term, group_counts, terms

NOBODY = -1
"""No group's id."""


class RunningTotals:
    """MACs, weights and filters, in total and by layer, minus the groups that were struck off.

    Attributes:
        totals: `macs` and `weights` of the whole model.
        by_layer: (kind, layer) -> macs, weights or filters of that layer.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        self.totals = {"macs": 0, "weights": 0}
        self.by_layer: dict[tuple[str, str], int] = {}
        self._terms: list[tuple[str, str, int, list[int], int]] = []
        self._asked: tuple[int, list[tuple[int, list[int], int]]] = NOBODY, []
        occurrences = _Occurrences(len(graph))
        for term in terms(graph):
            self._add(term, occurrences)
        for name, row in graph.layers.items():
            self._add(Term("filters", name, 1, (row,)), occurrences)
        self._in_order = occurrences.by_group()

    def _add(self, term: Term, occurrences: _Occurrences) -> None:
        lengths = [len(row) for row in term.factors]
        size = term.coefficient * math.prod(lengths)
        self._terms.append((term.kind, term.layer, term.coefficient, lengths, size))
        self._book(term.kind, term.layer, size)
        occurrences.add(term.factors)

    def _book(self, kind: str, layer: str, amount: int) -> None:
        if kind in self.totals:
            self.totals[kind] += amount
        self.by_layer[kind, layer] = self.by_layer.get((kind, layer), 0) + amount

    def _without(self, group: int) -> list[tuple[int, list[int], int]]:
        """Every term that a group occurs in: its index, and its lengths and size without the group."""
        if self._asked[0] != group:  # whoever strikes a group has asked for its changes just before
            found = []
            for index, counts in self._in_order(group):
                _, _, coefficient, lengths, _ = self._terms[index]
                left = [length - count for length, count in zip(lengths, counts, strict=True)]
                found.append((index, left, coefficient * math.prod(left)))
            self._asked = group, found
        return self._asked[1]

    def changes(self, group: int) -> dict[tuple[str, str], int]:
        """(kind, layer) -> what that layer would lose with this group, which has not been struck off."""
        lost: dict[tuple[str, str], int] = {}
        for index, _, rest in self._without(group):
            kind, layer, _, _, size = self._terms[index]
            lost[kind, layer] = lost.get((kind, layer), 0) + size - rest
        return lost

    def remove(self, group: int) -> None:
        """Take a group off the totals, once."""
        for index, left, rest in self._without(group):
            kind, layer, coefficient, _, size = self._terms[index]
            self._terms[index] = (kind, layer, coefficient, left, rest)
            self._book(kind, layer, rest - size)
        self._asked = NOBODY, []


class _Occurrences:
    """In which terms a group occurs, and how often in each factor. Terms are numbered as they are added.

    A network has many times more occurrences than a step looks at: they are sorted once, in arrays.
    """

    def __init__(self, groups: int) -> None:
        self._number = groups
        self._known: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
        self._found: list[list[tuple[np.ndarray, np.ndarray]]] = []

    def add(self, factors: tuple[Tensor, ...]) -> None:
        """The next term has these factors."""
        key = tuple(map(id, factors))
        if key not in self._known:
            self._known[key] = list(group_counts(factors))
        self._found.append(self._known[key])

    def by_group(self) -> Callable[[int], Iterator[tuple[int, list[int]]]]:
        """A look-up: group -> (term, how often the group occurs in each of its factors)."""
        parts = [(index, groups, counts) for index, found in enumerate(self._found) for groups, counts in found]
        groups = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, dtype=np.int64)
        lengths = [len(part[1]) for part in parts]
        part_of = np.repeat(np.arange(len(parts)), lengths)
        place = np.arange(len(groups)) - np.repeat(np.cumsum([0, *lengths[:-1]]) if parts else [], lengths)
        order = np.argsort(groups, kind="stable")
        ends = np.cumsum(np.bincount(groups, minlength=self._number))

        def look_up(group: int) -> Iterator[tuple[int, list[int]]]:
            for entry in order[(ends[group - 1] if group else 0) : ends[group]]:
                index, _, counts = parts[part_of[entry]]
                yield index, counts[place[entry]].tolist()

        return look_up
