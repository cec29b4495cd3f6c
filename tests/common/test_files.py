from pathlib import Path

import pytest

from pruning_lab.common.files import write_atomically


def test_the_text_replaces_what_was_there_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "a.txt"
    write_atomically(target, "old")
    write_atomically(target, "nëw\n")
    assert target.read_bytes() == "nëw\n".encode()
    assert list(target.parent.iterdir()) == [target]


def test_a_write_that_fails_leaves_the_old_file_and_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.txt"
    write_atomically(target, "old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
