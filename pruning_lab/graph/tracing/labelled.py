"""What the interpreter carries instead of a tensor: its shape, and the labels along the dimensions that have any.

Any part of the network can be removed only as whole slices of a tensor, so one row of labels for each dimension says
all there is to say, and nothing here grows with the size of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Labelled:
    """A tensor seen by its labels.

    Attributes:
        shape: its sizes at the traced input.
        axes: dimension -> int64 [shape[dimension]]; a dimension that is not named has a fixed size.
        parameters: the parameters it is made from, if it is made from nothing else.
        loose: dimensions along which all elements are alike, as in zeros of a given size: they fit whatever is left.
    """

    shape: tuple[int, ...]
    axes: dict[int, Tensor] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    loose: frozenset[int] = frozenset()

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def labels(self) -> Tensor:
        """All labels that occur, int64 [any]."""
        if not self.axes:
            return torch.empty(0, dtype=torch.int64)
        return torch.cat(list(self.axes.values()))

    def spread(self, dim: int) -> Tensor:
        """The labels of one dimension as a tensor of the full shape, without copying (stride 0 elsewhere)."""
        view = [1] * self.ndim
        view[dim] = self.shape[dim]
        return self.axes[dim].view(view).expand(self.shape)


TieRows = Callable[[Tensor], Tensor]


def gather_axis(spread: Tensor, tie_rows: TieRows, keep: int | None = None) -> tuple[int, Tensor] | None:
    """Find the dimension along which a full label tensor varies.

    Where it varies along several (a view that splits channels, a pixel shuffle), only whole slices of one of them can
    go: the dimension `keep` if it is among them, else the last one. `tie_rows` is asked to tie all others.

    Returns:
        (dimension, its labels), or None where all elements carry one label or there are none.
    """
    along = varying(spread)
    if not along:
        return None
    chosen = keep if keep in along else along[-1]
    index = tuple(slice(None) if d in along else 0 for d in range(spread.ndim))
    dense = spread[index].movedim(along.index(chosen), -1)
    return chosen, tie_rows(dense.reshape(-1, dense.shape[-1]))


def varying(spread: Tensor) -> list[int]:
    """The dimensions along which a tensor of labels is not the same everywhere."""
    return [dim for dim in range(spread.ndim) if _varies(spread, dim)]


def _varies(spread: Tensor, dim: int) -> bool:
    if spread.shape[dim] <= 1 or spread.stride(dim) == 0:
        return False
    first = spread.narrow(dim, 0, 1)
    return bool((spread != first).any())
