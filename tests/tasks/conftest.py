"""What tests of sweeps share."""

from pathlib import Path

import pytest

from tests.tasks.typed_sweep import Sweep


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sweep:
    return Sweep(tmp_path, monkeypatch, capsys)
