"""Running totals of a model's resources while groups are removed one by one, before anything is cut.

Knows the graph's arrays and `resources`. Removing one group touches only the terms that the group occurs in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.counting import Term, group_counts, terms
from pruning_lab.resources.table import BY_LAYER

Place = tuple[str, str]
"""What is counted (`filters`, or a resource that layers have a share of), and the layer."""


@dataclass(frozen=True)
class Removal:
    """What the removal of a group would do to totals.

    Attributes:
        group: its id.
        lost: place -> how much that layer would lose.
        left: place -> how much it would have left.
        terms: index of a term, its lengths and its size without the group.
        done_before: how many removals the totals had behind them.
    """

    group: int
    lost: Mapping[Place, int]
    left: Mapping[Place, int]
    terms: tuple[tuple[int, list[int], int], ...]
    done_before: int


class RunningTotals:
    """FLOPs, weights and filters, in total and by layer, minus the groups that were removed.

    Attributes:
        totals: resource -> count of the whole model.
        by_layer: place -> count of that layer.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        self.totals = dict.fromkeys(BY_LAYER, 0)
        self.by_layer: dict[Place, int] = {}
        self._terms: list[tuple[str, str, int, list[int], int]] = []
        self._removed = 0
        occurrences = _Occurrences(len(graph))
        for term in terms(graph):
            self._add(term, occurrences)
        for name, row in graph.layers.items():
            self._add(Term("filters", name, 1, (row,)), occurrences)
        self._in_order = occurrences.by_group()

    def without(self, group: int) -> Removal:
        """What the removal of a group, which is still there, would do. Nothing changes before `take`."""
        changed = []
        lost: dict[Place, int] = {}
        for index, counts in self._in_order(group):
            kind, layer, coefficient, lengths, size = self._terms[index]
            left = [length - count for length, count in zip(lengths, counts, strict=True)]
            rest = coefficient * math.prod(left)
            changed.append((index, left, rest))
            lost[kind, layer] = lost.get((kind, layer), 0) + size - rest
        still = {place: self.by_layer[place] - loss for place, loss in lost.items()}
        return Removal(group, lost, still, tuple(changed), self._removed)

    def take(self, removal: Removal) -> None:
        """Remove a group.

        Raises:
            ValueError: other groups were removed since `without` said what this one would do.
        """
        if removal.done_before != self._removed:
            raise ValueError(f"the removal of group {removal.group} was worked out for other totals; ask again")
        for index, left, rest in removal.terms:
            kind, layer, coefficient, _, _ = self._terms[index]
            self._terms[index] = (kind, layer, coefficient, left, rest)
        for (kind, layer), loss in removal.lost.items():
            self._book(kind, layer, -loss)
        self._removed += 1

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
