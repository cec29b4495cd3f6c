"""The line of a sweep of jobs that train nothing, as often as it is typed."""

import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from pruning_lab.__main__ import main
from pruning_lab.tasks.job_names import name_of
from tests.tasks.sweep_task import WORKED

LINE = ("-m", "name=s", "task._target_=tests.tasks.sweep_task.work", "tracking=none")


class Sweep:
    """The line of a sweep, as often as it is typed."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._patch, self._capsys = root, monkeypatch, capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        self._patch.setattr(sys, "argv", ["pruning_lab", *LINE, f"output_root={self.root}", *arguments])
        GlobalHydra.instance().clear()
        code = main()
        self.out, self.err = self._capsys.readouterr()
        return code

    def trouble(self, *lines: str) -> None:
        (self.root / "trouble").write_text("\n".join(lines))

    @property
    def folders(self) -> dict[str, Path]:
        """What a job is called -> its folder."""
        return {name_of(path.parent): path.parent for path in self.root.glob("sweeps/s/*/*.json")}

    @property
    def worked(self) -> dict[str, int]:
        """How often each job worked."""
        return {name: lines_of(folder / WORKED) for name, folder in self.folders.items()}


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.is_file() else 0
