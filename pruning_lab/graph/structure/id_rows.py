"""Many short rows of group ids, filtered in a few large operations. Knows neither graphs nor networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor


class Rows:
    """The rows of group ids that a network was traced with, and what is left of each of them now."""

    def __init__(self, traced: Iterable[Tensor], now: Sequence[Tensor] | None = None) -> None:
        """`traced`: int64 [any] each; `now`: what is left of each distinct one, in their order; None: all."""
        self._traced = {id(row): row for row in traced}
        self.now = list(self._traced.values()) if now is None else now
        self._left = dict(zip(self._traced, self.now, strict=True))

    def __call__(self, row: Tensor) -> Tensor:
        """What is left of one of the traced rows."""
        return self._left[id(row)]

    def length(self, row: Tensor) -> int:
        """How many entries are left of one of the traced rows."""
        return self._left[id(row)].shape[0]

    def of(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is left of traced rows that have names."""
        return {name: self._left[id(row)] for name, row in named.items()}

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every distinct traced row, and what is left of it."""
        return zip(self._traced.values(), self.now, strict=True)

    def left_by(self, left: Remaining) -> Rows:
        """The same rows when more has left."""
        return Rows(self._traced.values(), [left(row) for row in self.now])

    def __reduce__(self) -> tuple[type[Rows], tuple[list[Tensor], list[Tensor]]]:
        """A copy finds its rows by their new identities."""
        return Rows, (list(self._traced.values()), list(self.now))


class Remaining:
    """What is left of rows of group ids when some groups leave, with the ids that the others have then.

    A network has thousands of rows of a few hundred ids, and many of them are one tensor. All are laid end to end and
    filtered at once, each distinct one once; what is not asked for is not computed.
    """

    def __init__(self, removed: Tensor, rows: Iterable[Tensor]) -> None:
        """`removed`: bool [n_groups]; `rows`: int64 [any] each, with -1 for what belongs to no group and stays."""
        self.removed = removed
        self.stays = torch.cat([~removed, torch.ones(1, dtype=torch.bool)])
        self._rows = {id(row): row for row in rows}
        self._whole = [row.shape[0] for row in self._rows.values()]
        self._packed = torch.cat([torch.empty(0, dtype=torch.int64), *self._rows.values()])
        self._kept = self.stays[self._packed]
        self._starts = torch.tensor([0, *self._whole]).cumsum(0)
        counted = torch.cat([torch.zeros(1, dtype=torch.int64), self._kept.cumsum(0)])
        self._lengths = dict(zip(self._rows, counted[self._starts].diff().tolist(), strict=True))

    def __call__(self, row: Tensor) -> Tensor:
        """The new ids of what is left of one of the rows."""
        return self._left[id(row)]

    def length(self, row: Tensor) -> int:
        """How many entries are left of one of the rows."""
        return self._lengths[id(row)]

    def places(self, row: Tensor) -> Tensor:
        """Where the entries that are left stand in one of the rows, int64 [length], ascending."""
        return self._places[id(row)]

    def gaps(self, row: Tensor) -> Tensor:
        """Where the entries that leave stand in one of the rows, int64 [len(row) - length], ascending."""
        return self._gaps[id(row)]

    @cached_property
    def ids(self) -> Tensor:
        """The new id of every group, int64 [n_groups + 1]; the last is what belongs to no group."""
        return torch.cat([(~self.removed).cumsum(0) - 1, torch.tensor([-1])])

    @cached_property
    def _left(self) -> dict[int, Tensor]:
        return self._by_row(self.ids[self._packed[self._kept]], list(self._lengths.values()))

    @cached_property
    def _places(self) -> dict[int, Tensor]:
        return self._standing(self._kept, list(self._lengths.values()))

    @cached_property
    def _gaps(self) -> dict[int, Tensor]:
        lost = [whole - left for whole, left in zip(self._whole, self._lengths.values(), strict=True)]
        return self._standing(~self._kept, lost)

    def _standing(self, chosen: Tensor, numbers: list[int]) -> dict[int, Tensor]:
        """The places, in their own rows, of packed entries chosen by a bool mask; `numbers` of them in each row."""
        starts = self._starts[:-1].repeat_interleave(torch.tensor(numbers, dtype=torch.int64))
        return self._by_row(chosen.nonzero().squeeze(1) - starts, numbers)

    def _by_row(self, packed: Tensor, numbers: list[int]) -> dict[int, Tensor]:
        return dict(zip(self._rows, packed.split(numbers), strict=True))
