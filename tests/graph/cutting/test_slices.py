"""What is left of a tensor is what indexing it gives, however it is copied."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pruning_lab.graph.cutting import slices as slicing
from pruning_lab.graph.cutting.slices import Kept, kept_part

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
DTYPES += [torch.complex64, torch.complex128]


def kept(size: int, gone: set[int]) -> Kept:
    return Kept(
        torch.tensor([i for i in range(size) if i not in gone], dtype=torch.int64),
        torch.tensor(sorted(gone), dtype=torch.int64),
    )


def indexed(tensor: Tensor, keep: dict[int, Kept]) -> Tensor:
    for dim, one in keep.items():
        tensor = tensor.movedim(dim, 0)[one.index].movedim(0, dim)
    return tensor


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], dict[int, Kept]]:
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    dims = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    return shape, {dim: kept(shape[dim], draw(st.sets(st.integers(0, shape[dim] - 1)))) for dim in dims}


@pytest.mark.parametrize("least", [0, 1 << 40], ids=["in blocks", "index by index"])
@given(case=cases(), dtype=st.sampled_from(DTYPES))
def test_what_is_left_is_what_indexing_gives(
    least: int, case: tuple[list[int], dict[int, Kept]], dtype: torch.dtype
) -> None:
    shape, keep = case
    tensor = (100 * torch.randn(shape)).to(dtype)
    before = tensor.clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slicing, "LEAST_BLOCK_BYTES", least)
        left = kept_part(tensor, keep)
    assert torch.equal(left, indexed(tensor, keep))
    assert left.dtype == dtype
    assert left.is_contiguous()
    assert torch.equal(tensor, before)


@pytest.mark.parametrize("gone", [{0: {3}}, {1: {5, 6}}, {0: {3}, 1: {255}}])
def test_a_large_tensor_leaves_a_part_in_memory_of_its_own(gone: dict[int, set[int]]) -> None:
    tensor = torch.randn(128, 256, 3, 3, requires_grad=True)
    keep = {dim: kept(tensor.shape[dim], indices) for dim, indices in gone.items()}
    left = kept_part(tensor, keep)
    assert torch.equal(left, indexed(tensor.detach(), keep))
    assert not left.requires_grad
    assert left.untyped_storage().nbytes() == left.nbytes
    assert left.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


def test_the_memory_format_stays() -> None:
    tensor = torch.randn(128, 256, 3, 3).to(memory_format=torch.channels_last)
    keep = {0: kept(128, {3}), 1: kept(256, {5, 6})}
    left = kept_part(tensor, keep)
    assert torch.equal(left, indexed(tensor, keep))
    assert left.is_contiguous(memory_format=torch.channels_last)


def test_blocks_are_runs_of_neighbours() -> None:
    blocks = kept(7, {0, 3, 4}).blocks
    assert blocks == [(slice(1, 3), slice(0, 2)), (slice(5, 7), slice(2, 4))]
    assert kept(2, {0, 1}).blocks == []
