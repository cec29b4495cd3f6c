"""From labels to the groups that they turned out to belong to. Knows no networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pruning_lab.graph.structure.channels import STAYS


class GroupIds:
    """Rows of labels as rows of group ids. Equal rows become one tensor, which keeps the graph small and cuts fast."""

    def __init__(self, of_label: Tensor) -> None:
        self.of_label = of_label
        self._numbers = of_label.numpy()
        self._known: dict[tuple[tuple[int, ...], bytes], Tensor] = {}
        self._of_row: dict[int, tuple[Tensor, Tensor]] = {}
        self._moving: set[int] = set()

    def __call__(self, labels: Tensor) -> Tensor:
        found = self._of_row.get(id(labels))
        if found is None:
            found = self._of_row[id(labels)] = labels, self._row(self._numbers[labels.numpy()])
        return found[1]

    def _row(self, ids: np.ndarray) -> Tensor:
        key = ids.shape, ids.tobytes()
        if key not in self._known:
            row = self._known[key] = torch.from_numpy(ids)
            if (ids != STAYS).any():
                self._moving.add(id(row))
        return self._known[key]

    def moving(self, axes: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Of labels along dimensions those that belong to a group, as ids."""
        rows = {dim: self(labels) for dim, labels in axes.items()}
        return {dim: row for dim, row in rows.items() if id(row) in self._moving}
