from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the tests that only add runs: making its tables takes a second."""
    return tmp_path_factory.mktemp("outputs")
