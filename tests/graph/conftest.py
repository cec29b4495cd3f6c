"""Settings of the graph's tests."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny convolutions on several threads wait for each other longer than they compute."""
    torch.set_num_threads(1)
