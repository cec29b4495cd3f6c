"""The floors of the house hold, and an import that is put the wrong way is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

pytest.importorskip("importlinter")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the package in a folder, under the project's own contracts."""
    command = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports as lint; "
    command += "sys.exit(lint(no_cache=True))"
    return subprocess.run([sys.executable, "-c", command], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the package with its contracts."""
    shutil.copytree(ROOT / "pruning_lab", tmp_path / "pruning_lab", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_no_import_runs_up(house: Path) -> None:
    answer = lint(house)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize(
    ("room", "wrong"),
    [
        ("models/unet.py", "from pruning_lab.lab import loop"),
        ("resources/table.py", "from pruning_lab.training import losses"),
        ("graph/structure/records.py", "from pruning_lab.graph.proof import trial_cuts"),
        ("selection/floors.py", "import hydra"),
        ("lab/loop.py", "import mlflow"),
        ("importance/scopes.py", "import torchvision"),
    ],
)
def test_a_wrong_import_is_found(house: Path, room: str, wrong: str) -> None:
    path = house / "pruning_lab" / room
    path.write_text(path.read_text(encoding="utf-8") + f"\n{wrong}  # noqa: E402, F401\n", encoding="utf-8")
    answer = lint(house)
    assert answer.returncode == 1
    assert "pruning_lab." + room.removesuffix(".py").replace("/", ".") in answer.stdout
