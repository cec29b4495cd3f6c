from pathlib import Path

import pytest
from filelock import FileLock
from omegaconf import OmegaConf

from pruning_lab.common.claims import LOCK
from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.journal import Journal
from pruning_lab.lab.output.mlflow import Uploaded
from pruning_lab.tasks import upload as task
from pruning_lab.tasks.upload import tracked_folders, upload, uri_of

CONFIG = OmegaConf.create({"tracking": {"uri": None}})


def a_journal(folder: Path, address: str = "sqlite:////somewhere/mlflow.db") -> Journal:
    return Journal.begin(folder, {"address": address, "root": "/root/of/runs", "sweep": None})


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str]]:
    """Runs that were sent, and where to; each has an entry left the first time."""
    calls: list[tuple[Path, str]] = []

    def send(journal: Journal, uri: str) -> Uploaded:
        again = (journal.run_folder, uri) in calls
        calls.append((journal.run_folder, uri))
        return Uploaded() if again else Uploaded(entries=1, mended=True, refused=("no",))

    monkeypatch.setattr(task, "send", send)
    return calls


def test_every_run_below_a_pattern_is_sent_to_its_own_store_once(
    sent: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/0", "a/1", "b/0"):
        a_journal(tmp_path / name)
    upload(CONFIG, tmp_path, {}, [f"{tmp_path}/a*", f"{tmp_path}/a/1"])
    assert sent == [(tmp_path / name, "sqlite:////somewhere/mlflow.db") for name in ("a/0", "a/1")]
    told = capsys.readouterr().out
    assert f"{tmp_path}/a/0: was killed, and is marked so; 1 entries sent; not taken: no\n" in told
    assert told.endswith("2 folders looked through\n")
    upload(CONFIG, tmp_path, {}, f"{tmp_path}/a")
    assert capsys.readouterr().out == "2 folders looked through; the store has everything\n"


def test_a_run_that_works_is_left_alone(
    sent: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_journal(tmp_path / "0")
    with FileLock(tmp_path / "0" / LOCK):  # as another process would hold it
        upload(CONFIG, tmp_path, {}, str(tmp_path))
    assert not sent
    assert "still at work" in capsys.readouterr().out


def test_an_address_that_is_given_counts(tmp_path: Path) -> None:
    assert uri_of(a_journal(tmp_path), "http://there:5000") == "http://there:5000"


def test_a_password_comes_from_the_runs_config(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, "http://me:***@there:5000")
    with pytest.raises(LabError, match=r"tells no password for .*give tracking\.uri="):
        uri_of(journal, None)
    (tmp_path / "config.yaml").write_text("tracking: {uri: 'http://me:secret@there:5000'}\n")
    assert uri_of(journal, None) == "http://me:secret@there:5000"


def test_folders_without_a_record_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabError, match=r"task\.runs: no run with a record"):
        upload(CONFIG, tmp_path, {}, str(tmp_path))
    with pytest.raises(LabError, match=r"task\.runs=.*there is no such folder"):
        list(tracked_folders([f"{tmp_path}/nowhere"]))
