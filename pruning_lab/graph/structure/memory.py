"""Sizes and lifetimes of a forward pass's values, and the peak of what is alive at once. Knows rows of group ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from pruning_lab.graph.structure.id_rows import Rows

NONE = -1
"""The factor of a value that depends on fewer rows than others do: it stands for 1."""


@dataclass(frozen=True)
class LiveValues:
    """Size and lifetime of every value of a forward pass.

    Labelled i has `bytes_each[i]` x the lengths of `rows[f]`, f in `factors[i]`, bytes.

    Attributes:
        bytes_each: int64 [n].
        factors: int64 [n, most], indices into `rows` or NONE.
        born, last: int64 [n], the numbers of the operators that make it, and that read it last.
        rows: the group ids of the channels, a row for each distinct kind of dimension.
    """

    bytes_each: np.ndarray
    factors: np.ndarray
    born: np.ndarray
    last: np.ndarray
    rows: tuple[Tensor, ...]

    def peak_bytes(self, length: Callable[[Tensor], int] = len) -> int:
        """The largest sum of the sizes of values that are alive at once.

        Args:
            length: how many entries of a row count, by default all.
        """
        return int(self._alive(self._sizes(length)).max(initial=0))

    def total_bytes(self) -> int:
        """The sum of the sizes of all values, as if none were let go."""
        return int(self._sizes(len).sum())

    def full_moments(
        self, share: float, length: Callable[[Tensor], int] = len
    ) -> list[list[tuple[int, tuple[Tensor, ...]]]]:
        """The moments at which at least that share of the peak is alive, each as (bytes_each, rows) of its values."""
        alive = self._alive(self._sizes(length))
        moments = (alive >= share * alive.max(initial=1)).nonzero()[0]
        sets = {tuple(((self.born <= moment) & (self.last >= moment)).nonzero()[0]) for moment in moments}
        return [[self._parts(index) for index in alike] for alike in sorted(sets)]

    def _parts(self, index: int) -> tuple[int, tuple[Tensor, ...]]:
        return int(self.bytes_each[index]), tuple(self.rows[factor] for factor in self.factors[index] if factor != NONE)

    def now(self, rows: Rows) -> LiveValues:
        """The same values with the channels that are left."""
        return replace(self, rows=tuple(map(rows, self.rows)))

    def _sizes(self, length: Callable[[Tensor], int]) -> np.ndarray:
        lengths = np.array([*map(length, self.rows), 1], dtype=np.int64)
        return self.bytes_each * lengths[self.factors].prod(axis=1)

    def _alive(self, sizes: np.ndarray) -> np.ndarray:
        """Bytes alive at every operator, int64 [operators]."""
        if not len(sizes):
            return sizes
        change = np.zeros(int(self.last.max()) + 2, dtype=np.int64)
        np.add.at(change, self.born, sizes)
        np.add.at(change, self.last + 1, -sizes)
        return change.cumsum()
