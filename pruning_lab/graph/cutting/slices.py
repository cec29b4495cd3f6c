"""What is left of a tensor when indices of some dimensions go, bit for bit and fast. Knows tensors alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

LEAST_BLOCK_BYTES = 32768
"""Below that, on average, copying block by block is not faster than gathering index by index."""

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of an element -> a type that numpy knows, to move bits of any kind in."""

WHOLE = [(slice(None), slice(None))]


@dataclass(frozen=True)
class Kept:
    """The indices of one dimension that are left.

    Args:
        index: int64 [left], ascending.
        gone: int64 [gone], ascending; together they are all indices.
    """

    index: Tensor
    gone: Tensor

    @cached_property
    def blocks(self) -> list[tuple[slice, slice]]:
        """Runs of neighbors that are left: where each was, and where it is then."""
        ends = [*self.gone.tolist(), len(self.index) + len(self.gone)]
        starts = [0, *(end + 1 for end in ends[:-1])]
        runs = [(number, start, end) for number, (start, end) in enumerate(zip(starts, ends, strict=True))]
        return [(slice(start, end), slice(start - n, end - n)) for n, start, end in runs if start < end]


def kept_part(tensor: Tensor, keep: Mapping[int, Kept]) -> Tensor:
    """The part of a tensor that is left, in memory of its own and in the same memory format, detached.

    Args:
        keep: dimension -> what is left of it, one at least; a dimension that is not named stays whole.
    """
    whole = tensor.detach()
    if _is_in_large_blocks(whole, keep):
        return _by_blocks(whole, keep)
    result = whole
    for dim, kept in keep.items():
        result = result.index_select(dim, kept.index.to(result.device))
    if whole.dim() == 4 and not whole.is_contiguous() and whole.is_contiguous(memory_format=torch.channels_last):
        result = result.contiguous(memory_format=torch.channels_last)
    return result


def _is_in_large_blocks(whole: Tensor, keep: Mapping[int, Kept]) -> bool:
    """Whether few, long runs are left. Along the first dimension alone, gathering copies whole slices anyway."""
    if list(keep) == [0] or whole.device.type != "cpu" or whole.element_size() not in INTEGERS:
        return False
    blocks = 1
    for kept in keep.values():
        blocks *= 1 + kept.gone.shape[0]
    return whole.nbytes >= blocks * LEAST_BLOCK_BYTES and whole.is_contiguous()


def _by_blocks(whole: Tensor, keep: Mapping[int, Kept]) -> Tensor:
    shape = [keep[dim].index.shape[0] if dim in keep else size for dim, size in enumerate(whole.shape)]
    result = whole.new_empty(shape)
    source, target = (tensor.view(INTEGERS[tensor.element_size()]).numpy() for tensor in (whole, result))
    for block in itertools.product(*(keep[dim].blocks if dim in keep else WHOLE for dim in range(max(keep) + 1))):
        there, here = zip(*block, strict=True)
        target[here] = source[there]
    return result
