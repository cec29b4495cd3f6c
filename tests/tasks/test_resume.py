"""task=resume: the folder of a run that was cut short is all that it needs."""

from pathlib import Path

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.lab import loop as lab
from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.run_folder import read_run
from pruning_lab.tasks.config import run_task
from pruning_lab.tasks.outcome import Outcome
from tests.tasks.test_assembly import perform
from tests.tasks.test_config import composed

EXACT = ["deterministic=true", "importance=steady_taylor", "seed=2"]


def told(folder: Path) -> list[dict[str, float]]:
    history = History.read(folder / "history.csv")
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in history]


@pytest.mark.slow
def test_a_run_that_died_is_finished_in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = perform(tmp_path, "whole", *EXACT)
    score, calls = lab.score, []

    def dies_at_the_second(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(lab, "score", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        perform(tmp_path, "broken", *EXACT)
    assert len(told(tmp_path / "broken")) == 2
    monkeypatch.undo()
    again = run_task(composed("task=resume", f"task.run={tmp_path / 'broken'}"), str(tmp_path / "other"), {})
    assert again.number == value
    assert told(tmp_path / "broken") == told(tmp_path / "whole")
    assert len(calls) == 2
    files = [{path.name for path in (tmp_path / name).iterdir()} for name in ("whole", "broken")]
    assert files[0] == files[1]
    assert read_run(tmp_path / "broken").config["importance"] == read_run(tmp_path / "whole").config["importance"]


@pytest.mark.slow
def test_a_run_that_is_done_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    perform(tmp_path, "whole", *EXACT)
    files = [path for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    before = [path.stat().st_mtime_ns for path in files]
    outcome = run_task(composed("task=resume", f"task.run={tmp_path / 'whole'}"), str(tmp_path / "other"), {})
    assert outcome == Outcome()
    assert capsys.readouterr().out.strip().splitlines()[-1].endswith("whole is done: there is nothing to go on with")
    assert [path.stat().st_mtime_ns for path in files] == before


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no saved state") as caught:
        run_task(composed("task=resume", f"task.run={tmp_path}"), str(tmp_path / "other"), {})
    assert "\n" not in str(caught.value)
