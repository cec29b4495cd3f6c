"""Finds attributes of modules that may hold numbers of channels: `self.width`, `self.splits`. Knows no operator.

That a number is equal to a width proves nothing; what is found here is only tried, and kept where a trial cut succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pruning_lab.graph.cutting.module_sizes import held_values
from pruning_lab.graph.structure.channels import Channels
from pruning_lab.graph.structure.records import HeldSize, Size


def held_sizes(model: nn.Module, graph: Channels, sizes: list[tuple[str, tuple[Size, ...]]]) -> list[HeldSize]:
    """Attributes equal to lengths of rows of group ids, of which some can be cut.

    Args:
        sizes: (module path, rows or fixed numbers), as operators in the module's forward use them.
    """
    found: dict[tuple[str, str], HeldSize] = {}
    prunable = torch.cat([graph.prunable, torch.zeros(1, dtype=torch.bool)])  # the last is for what stays
    for path, parts in sizes:
        if not any(isinstance(part, Tensor) and bool(prunable[part].any()) for part in parts):
            continue
        numbers = [len(part) if isinstance(part, Tensor) else part for part in parts]
        for attribute in _matching(model.get_submodule(path), numbers):
            found.setdefault((path, attribute), HeldSize(path, attribute, parts))
    return list(found.values())


def _matching(module: nn.Module, numbers: list[int]) -> Iterator[str]:
    """Public attributes that are these numbers, or the only one of them. Ones and flags are no widths."""
    for key, value in held_values(module):
        alone = type(value) is int and value > 1 and numbers == [value]
        listed = isinstance(value, (list, tuple)) and [type(item) for item in value] == [int] * len(value)
        if alone or (listed and list(value) == numbers):
            yield key
