"""Of numbered folders the latest whole one counts, and what could not be written leaves nothing."""

from pathlib import Path

import pytest

from pruning_lab.common.versions import versions, write_version


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_latest_takes_the_place_of_those_before_it(tmp_path: Path) -> None:
    for name in ("step_2", "step_2_batch_9", "step_2_batch_10", "step_10"):
        seen: list[str] = []
        write_version(tmp_path, name, lambda draft, before, seen=seen: seen.extend(path.name for path in before))
        assert len(seen) <= 1
        assert names(tmp_path) == [name]


def test_a_batch_comes_after_its_step_and_before_the_next(tmp_path: Path) -> None:
    for name in ("step_3", "step_2_batch_10", "step_2", "step_2_batch_9", ".step_4"):
        (tmp_path / name).mkdir()
    assert [path.name for path in versions(tmp_path)] == ["step_2", "step_2_batch_9", "step_2_batch_10", "step_3"]


def test_what_can_not_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    def fails(draft: Path, before: list[Path]) -> None:
        (draft / "half").write_text("x")
        raise OSError(28, "No space left on device")

    write_version(tmp_path, "step_1", lambda draft, before: None)
    with pytest.raises(OSError, match="No space"):
        write_version(tmp_path, "step_2", fails)
    assert names(tmp_path) == ["step_1"]
