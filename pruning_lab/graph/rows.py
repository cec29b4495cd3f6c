"""Many short rows of group ids, filtered in a few large operations. Knows neither graphs nor networks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Remaining:
    """What is left of rows of group ids when some groups leave, with the ids that the others have then.

    A network has thousands of rows of a few hundred ids, and many of them are one tensor. All are laid end to end and
    filtered at once, each distinct one once.
    """

    def __init__(self, removed: Tensor, rows: Iterable[Tensor]) -> None:
        """`removed`: bool [n_groups]; `rows`: int64 [any] each, with -1 for what belongs to no group and stays."""
        self.stays = torch.cat([~removed, torch.ones(1, dtype=torch.bool)])
        self.ids = torch.cat([(~removed).long().cumsum(0) - 1, torch.tensor([-1])])
        distinct = {id(row): row for row in rows}
        if not distinct:
            return
        packed = torch.cat(list(distinct.values()))
        kept = self.stays[packed]
        counted = torch.cat([torch.zeros(1, dtype=torch.int64), kept.long().cumsum(0)])
        ends = torch.tensor([0, *(row.shape[0] for row in distinct.values())]).cumsum(0)
        lengths = (counted[ends[1:]] - counted[ends[:-1]]).tolist()
        self._left = dict(zip(distinct, self.ids[packed[kept]].split(lengths), strict=True))
        self._lengths = dict(zip(distinct, lengths, strict=True))

    def __call__(self, row: Tensor) -> Tensor:
        """The new ids of what is left of one of the rows."""
        return self._left[id(row)]

    def length(self, row: Tensor) -> int:
        """How many entries are left of one of the rows."""
        return self._lengths[id(row)]
