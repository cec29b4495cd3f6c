import errno
from pathlib import Path

import pytest

from pruning_lab.common.files import disk_trouble, is_full, replacing, write_atomically


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


def test_an_error_of_a_write_names_the_file_and_not_its_draft(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "a.bin"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.bin")
    assert is_full(caught.value)
    assert disk_trouble(caught.value) == f"{tmp_path / 'a.bin'}: No space left on device; make room in {tmp_path}"


def test_an_error_of_another_language_is_the_systems(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "a.bin"):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert is_full(caught.value)


def test_what_is_no_error_of_the_system_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shape"), replacing(tmp_path / "a.bin"):
        raise ValueError("wrong shape")
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "a.bin") as draft:
        open(draft.parent / "other" / "b", "rb").close()
    assert caught.value.filename == str(tmp_path / "other" / "b")
    assert "give folders that exist" in disk_trouble(caught.value)
