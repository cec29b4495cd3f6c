"""An error in a user's own code is one line that names the file and line of it; the traceback is kept."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from pruning_lab.tasks.mistakes import TRACEBACK, _is_installed, own_frame, told
from tests.test_main import SMALL, run

MINE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=4, **options):
        super().__init__()
        self.layer = nn.Conv2d(3, classes, 3, padding=1)

    def forward(self, image):
        raise ValueError("no images today")

def fails(*args, **kwargs):
    return torch.zeros(2) @ torch.zeros(3)
"""


@pytest.fixture
def mine(tmp_path: Path) -> ModuleType:
    path = tmp_path / "mine.py"
    path.write_text(MINE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def caught(call: object) -> BaseException:
    with pytest.raises(Exception) as info:  # noqa: PT011 - whatever is raised
        call()  # type: ignore[operator]
    return info.value


def test_the_line_names_the_users_file_even_where_a_library_raised(mine: ModuleType, tmp_path: Path) -> None:
    error = caught(mine.fails)
    line = told(error, tmp_path / "run")
    assert f"{tmp_path / 'mine.py'}, line 14 in fails: RuntimeError" in line
    assert "\n" not in line
    text = (tmp_path / "run" / TRACEBACK).read_text(encoding="utf-8")
    assert "Traceback" in text
    assert "mine.py" in text


def test_the_innermost_own_line_is_named(mine: ModuleType) -> None:
    frame = own_frame(caught(lambda: mine.Net()(None)))
    assert frame is not None
    assert frame.name == "forward"


def test_what_is_installed_elsewhere_is_no_own_code(mine: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mine-1.0.dist-info").mkdir()
    _is_installed.cache_clear()
    frame = own_frame(caught(mine.fails))
    assert frame is None or frame.filename != str(tmp_path / "mine.py")


def test_without_own_code_the_project_takes_the_blame(tmp_path: Path) -> None:
    try:
        compile("1 +", "<nowhere>", "eval")
    except SyntaxError as error:
        error.__traceback__ = None
        line = told(error, tmp_path)
    assert "fault of pruning_lab" in line


def test_a_folder_that_can_not_be_written_costs_the_traceback_alone(mine: ModuleType) -> None:
    line = told(caught(mine.fails), Path("/dev/null/nowhere"))
    assert "traceback" not in line
    assert "mine.py" in line


@pytest.mark.slow
def test_a_forward_that_raises_ends_a_run_by_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    answer = run(tmp_path, *SMALL, "tracking=none", "model=custom", "model._target_=mine.Net")
    assert answer.returncode == 1
    (line,) = answer.stderr.strip().splitlines()
    assert "mine.py" in line
    assert "no images today" in line
