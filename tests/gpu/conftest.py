"""Skips this folder where there is no GPU; counts how often Python waits for one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def _gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: what this folder tests holds on a GPU")


@pytest.fixture
def full_float32() -> Iterator[None]:
    """Convolutions in float32 as a CPU has it, and not in TF32, which keeps ten bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def waits(run: Callable[[], object]) -> int:
    """How often a call makes Python wait for the GPU, by torch's own account."""
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in told)
