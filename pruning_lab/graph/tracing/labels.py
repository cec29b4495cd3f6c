"""Labels: integers that say which channel an element belongs to, and the ties between them.

Knows nothing of networks. A label is given out by `fresh`; `tie` says that two labels can only be removed together, and
keeps the rows that it is given, so nothing may be written into these; `freeze` says that a label can't be removed, and
why; `mix` says that removing it changes a normalization.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

FIXED = 0
"""The label of what never moves: the model's input, constants, padding. Whatever is tied to it is frozen."""


_AT_FIRST = 1 << 16


class _Met(NamedTuple):
    """Labels int64 [n] that meet element by element, and how many times labels had been frozen before that."""

    one: Tensor
    other: Tensor
    reason: str
    after: float


class NotFollowedError(ValueError):
    """A rule says on purpose that it can't follow its operator, called in this way; what it reads stays then."""


class LabelSpace:
    """Gives out labels and collects what is known about them."""

    def __init__(self) -> None:
        self.count = 1
        self._given_out = torch.arange(_AT_FIRST)
        self._met: list[_Met] = []
        self._component: np.ndarray | None = None
        self._frozen: list[tuple[Tensor, str]] = []
        self._mixed: list[tuple[Tensor, str]] = []

    def fresh(self, number: int) -> Tensor:
        """New labels, int64 [number]."""
        start, self.count = self.count, self.count + number
        if self.count > len(self._given_out):
            self._given_out = torch.arange(2 * self.count)
        return self._given_out[start : self.count]

    def tie(self, one: Tensor, other: Tensor, reason: str) -> None:
        """Tie two label tensors of one shape element by element; `reason` is kept where one side is FIXED.

        Raises:
            NotFollowedError: they have different numbers of labels.
        """
        if one is other:
            return
        if one.numel() != other.numel():
            raise NotFollowedError(f"{one.numel()} labels can't be tied to {other.numel()}")
        flat, other_flat = (row if row.dim() == 1 else row.reshape(-1) for row in (one, other))
        self._met.append(_Met(flat, other_flat, reason, len(self._frozen)))
        self._component = None

    def tie_rows(self, rows: Tensor, reason: str) -> Tensor:
        """Tie the columns of `rows` [r, n]: element j of every row is one. Returns the first row, int64 [n]."""
        if len(rows) > 1:
            self.tie(rows[0].expand_as(rows[1:]), rows[1:], reason)
        return rows[0]

    def freeze(self, labels: Tensor, reason: str) -> None:
        """No group with one of these labels can be cut."""
        free = labels[labels != FIXED]
        if free.numel():
            self._frozen.append((free, reason))

    def mix(self, labels: Tensor, reason: str) -> None:
        """A cut of these labels is exact only against the normalization over the channels that are left."""
        free = labels[labels != FIXED]
        if free.numel():
            self._mixed.append((free, reason))

    def components(self) -> np.ndarray:
        """The connected component of every label, int32 [count]."""
        if self._component is None or len(self._component) != self.count:
            self._component = self._connected()
        return self._component

    def _connected(self) -> np.ndarray:
        one, other = self._pairs()
        free = (one != FIXED) & (other != FIXED)
        one, other = one[free], other[free]
        edges = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(self.count, self.count))
        return connected_components(edges, directed=False)[1]

    def frozen_components(self, component: np.ndarray) -> dict[int, str]:
        """Component -> the first reason that froze one of its labels."""
        return _first_reasons(self._all_frozen(), component)

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """All labels that met, side by side."""
        if not self._met:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        return torch.cat([met.one for met in self._met]).numpy(), torch.cat([met.other for met in self._met]).numpy()

    def _all_frozen(self) -> list[tuple[Tensor, str]]:
        """What was frozen, and what met FIXED, in the order in which it happened."""
        one, other = self._pairs()
        fixed = (one == FIXED) != (other == FIXED)
        number = np.repeat(np.arange(len(self._met)), [met.one.numel() for met in self._met])[fixed]
        labels = torch.from_numpy(np.maximum(one, other)[fixed])
        places, starts = np.unique(number, return_index=True)
        parts = zip(places.tolist(), labels.tensor_split(starts[1:].tolist()), strict=True) if len(places) else ()
        marks = [(self._met[place].after, part, self._met[place].reason) for place, part in parts]
        marks += [(place + 0.5, *mark) for place, mark in enumerate(self._frozen)]
        return [(part, reason) for _, part, reason in sorted(marks, key=lambda mark: mark[0])]

    def mixed_components(self, component: np.ndarray) -> dict[int, str]:
        """Component -> the first normalization that mixes one of its labels."""
        return _first_reasons(self._mixed, component)


def _first_reasons(marks: list[tuple[Tensor, str]], component: np.ndarray) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for labels, reason in marks:
        for index in np.unique(component[labels.numpy()]).tolist():
            reasons.setdefault(index, reason)
    return reasons
