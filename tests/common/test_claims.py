"""A folder has one process at a time, and that one may come in again."""

from pathlib import Path

import pytest
from filelock import FileLock

from pruning_lab.common.claims import LOCK, HeldError, claimed, is_held


def test_who_holds_a_folder_may_claim_it_again_and_leaves_no_lock(tmp_path: Path) -> None:
    with claimed(tmp_path / "run"):
        with claimed(tmp_path / "run"):
            assert not is_held(tmp_path / "run")
        assert (tmp_path / "run" / LOCK).exists()
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_folder_that_another_holds_is_refused_in_one_line(tmp_path: Path) -> None:
    with FileLock(tmp_path / LOCK):
        assert is_held(tmp_path)
        with pytest.raises(HeldError, match="another process works in") as caught, claimed(tmp_path):
            pass
    assert "\n" not in str(caught.value)
    assert not is_held(tmp_path)
