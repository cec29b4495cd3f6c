"""Labels: integers that say which channel an element belongs to, and the ties between them.

Knows nothing of networks. A label is given out by `fresh`; `tie` says that two labels can only be removed together;
`freeze` says that a label can't be removed, and why; `mix` says that removing it changes a normalization.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

FIXED = 0
"""The label of what never moves: the model's input, constants, padding. Whatever is tied to it is frozen."""


class LabelSpace:
    """Gives out labels and collects what is known about them."""

    def __init__(self) -> None:
        self.count = 1
        self._ties: list[tuple[Tensor, Tensor]] = []
        self._frozen: list[tuple[Tensor, str]] = []
        self._mixed: list[tuple[Tensor, str]] = []

    def fresh(self, number: int) -> Tensor:
        """New labels, int64 [number]."""
        labels = torch.arange(self.count, self.count + number)
        self.count += number
        return labels

    def tie(self, one: Tensor, other: Tensor, reason: str) -> None:
        """Tie two label tensors of one shape element by element; `reason` is kept where one side is FIXED."""
        if one is other:
            return
        if one.numel() != other.numel():
            raise ValueError(f"{one.numel()} labels can't be tied to {other.numel()}")
        one, other = one.reshape(-1), other.reshape(-1)
        differ = one != other
        if not bool(differ.any()):
            return
        fixed = differ & ((one == FIXED) | (other == FIXED))
        if bool(fixed.any()):
            self.freeze(torch.maximum(one, other)[fixed], reason)
        free = differ & ~fixed
        if bool(free.any()):
            self._ties.append((one[free], other[free]))

    def tie_rows(self, rows: Tensor, reason: str) -> Tensor:
        """Tie the columns of `rows` [r, n]: element j of every row is one. Returns the first row, int64 [n]."""
        for row in rows[1:]:
            self.tie(rows[0], row, reason)
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
        if self._ties:
            one = torch.cat([pair[0] for pair in self._ties]).numpy()
            other = torch.cat([pair[1] for pair in self._ties]).numpy()
        else:
            one = other = np.empty(0, dtype=np.int64)
        edges = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(self.count, self.count))
        return connected_components(edges, directed=False)[1]

    def frozen_components(self, component: np.ndarray) -> dict[int, str]:
        """Component -> the first reason that froze one of its labels."""
        return _first_reasons(self._frozen, component)

    def mixed_components(self, component: np.ndarray) -> dict[int, str]:
        """Component -> the first normalization that mixes one of its labels."""
        return _first_reasons(self._mixed, component)


def _first_reasons(marks: list[tuple[Tensor, str]], component: np.ndarray) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for labels, reason in marks:
        for index in np.unique(component[labels.numpy()]).tolist():
            reasons.setdefault(index, reason)
    return reasons
