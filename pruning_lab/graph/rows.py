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
        stays = torch.cat([~removed, torch.ones(1, dtype=torch.bool)])
        self.ids = torch.cat([(~removed).long().cumsum(0) - 1, torch.tensor([-1])])
        self._rows = list({id(row): row for row in rows}.values())
        self._place = {id(row): place for place, row in enumerate(self._rows)}
        if not self._rows:
            return
        packed = torch.cat(self._rows)
        kept = stays[packed]
        lengths = [len(row) for row in self._rows]
        counted = torch.cat([torch.zeros(1, dtype=torch.int64), kept.long().cumsum(0)])
        ends = torch.tensor([0, *lengths]).cumsum(0)
        left = (counted[ends[1:]] - counted[ends[:-1]]).tolist()
        self._left = self.ids[packed[kept]].split(left)
        self._kept = kept.split(lengths)

    def __call__(self, row: Tensor) -> Tensor:
        """The new ids of what is left of one of the rows."""
        return self._left[self._place[id(row)]]

    def kept(self, row: Tensor) -> Tensor:
        """bool [len(row)], which entries of one of the rows are left."""
        return self._kept[self._place[id(row)]]
