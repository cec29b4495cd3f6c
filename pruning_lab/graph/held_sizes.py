"""Finds attributes of modules that may hold numbers of channels: `self.width`, `self.splits`. Knows no operator.

That a number is equal to a width proves nothing; what is found here is only tried, and kept where a trial cut succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.graph.channel_graph import ChannelGraph, HeldSize


def held_sizes(model: nn.Module, graph: ChannelGraph, sizes: list[tuple[str, tuple[Tensor, ...]]]) -> list[HeldSize]:
    """Attributes equal to lengths of rows of group ids, of which some can be cut.

    Args:
        sizes: (module path, rows), as operators in the module's forward use them.
    """
    found: dict[tuple[str, str], HeldSize] = {}
    prunable = graph.prunable.nonzero().flatten()
    for path, rows in sizes:
        if not any(bool(torch.isin(row, prunable).any()) for row in rows):
            continue
        for attribute in _matching(model.get_submodule(path), [len(row) for row in rows]):
            found.setdefault((path, attribute), HeldSize(path, attribute, rows))
    return list(found.values())


def _matching(module: nn.Module, lengths: list[int]) -> Iterator[str]:
    """Public attributes that are this number (if it is one) or a list of these numbers."""
    for key, value in vars(module).items():
        if not key.startswith("_") and _numbers(value) == (lengths[0] if len(lengths) == 1 else lengths):
            yield key


def _numbers(value: Any) -> Any:
    """An int or a list of ints; None for anything else. Flags and ones are no widths."""
    if type(value) is int and value > 1:
        return value
    if isinstance(value, (list, tuple)) and len(value) > 1 and all(type(item) is int for item in value):
        return list(value)
    return None
