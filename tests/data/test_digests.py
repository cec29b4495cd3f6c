"""A digest follows every byte of a file, and is remembered only where that is safe."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest

from pruning_lab.data import Folder, digests
from pruning_lab.data.digests import content_digests, memory_for
from tests.data.fakes import write_picture

LONG_AGO = 1_000_000_000


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for number in range(20):
        (tmp_path / f"{number}.bin").write_bytes(os.urandom(5000 + number))
    return sorted(tmp_path.glob("*.bin"))


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once."""
    monkeypatch.setattr(digests, "SETTLED_S", -60)


@pytest.fixture
def hashed(monkeypatch) -> list[Path]:
    """The files that were really hashed."""
    seen: list[Path] = []
    original = digests._digest
    monkeypatch.setattr(digests, "_digest", lambda path: (seen.append(path), original(path))[1])
    return seen


def test_a_digest_is_blake2b_of_the_whole_content(files):
    expected = {path: hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in files}
    assert content_digests(files) == expected


def test_what_is_remembered_is_not_hashed_again(files, tmp_path, hashed, settled):
    memory = tmp_path / "memory" / "digests.json"
    first = content_digests(files, memory)
    assert sorted(hashed) == files
    assert content_digests(files, memory) == first
    assert len(hashed) == len(files)


@pytest.mark.parametrize("keep_date", [False, True])
def test_a_changed_byte_is_noticed_even_under_the_old_date(files, tmp_path, settled, keep_date):
    memory = tmp_path / "digests.json"
    first = content_digests(files, memory)
    state, content = files[3].stat(), bytearray(files[3].read_bytes())
    content[2500] ^= 1
    time.sleep(0.02)
    files[3].write_bytes(content)
    if keep_date:
        os.utime(files[3], ns=(state.st_atime_ns, state.st_mtime_ns))
    second = content_digests(files, memory)
    assert [path for path in files if first[path] != second[path]] == [files[3]]


def test_a_file_put_in_the_place_of_another_is_noticed(files, tmp_path, settled):
    memory = tmp_path / "digests.json"
    first = content_digests(files, memory)
    other = tmp_path / "other"
    other.write_bytes(files[0].read_bytes()[::-1])
    os.replace(other, files[0])
    assert content_digests(files, memory)[files[0]] != first[files[0]]


def test_a_file_just_written_is_not_remembered(files, tmp_path, hashed):
    memory = tmp_path / "digests.json"
    content_digests(files, memory)
    content_digests(files, memory)
    assert len(hashed) == 2 * len(files)


def test_the_memory_holds_only_files_that_are_there(files, tmp_path, settled):
    memory = tmp_path / "digests.json"
    content_digests(files, memory)
    content_digests(files[:2], memory)
    files[0].write_bytes(b"new")
    content_digests(files[:2], memory)
    assert memory.read_text().count(".bin") == 2


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"a": 1}', "\x00"])
def test_a_damaged_memory_costs_time_only(files, tmp_path, content):
    (tmp_path / "digests.json").write_text(content)
    assert content_digests(files, tmp_path / "digests.json") == content_digests(files)


def test_a_memory_that_can_not_be_written_costs_time_only(files, tmp_path, settled):
    (tmp_path / "file").write_text("no folder")
    assert content_digests(files, tmp_path / "file" / "digests.json") == content_digests(files)


def test_each_root_has_a_memory_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = memory_for(tmp_path / "one"), memory_for(tmp_path / "other")
    assert one != other
    assert one is not None
    assert one.is_relative_to(tmp_path)


class TestFingerprints:
    """Two data sets of equal sizes whose files begin and end alike for 4 KiB are two data sets."""

    SIDE = 200

    def write(self, root: Path, kind: str) -> Path:
        rng = np.random.default_rng(0)
        for split in ("train", "val", "test"):
            image = rng.integers(0, 256, (self.SIDE, self.SIDE, 3)).astype(np.uint8)
            mask = np.tile(np.array([0, 1], np.uint8), (self.SIDE, self.SIDE // 2))
            if kind == "image" and split == "train":
                image[100, 100, 1] ^= 1
            if kind == "mask" and split == "train":
                mask[100, 100] ^= 1
            write_picture(root / split / "images" / "a.bmp", image)
            write_picture(root / split / "masks" / "a.bmp", mask)
        return root

    @pytest.mark.parametrize("kind", ["image", "mask"])
    def test_one_changed_pixel_in_the_middle_is_another_base(self, tmp_path, kind):
        one, other = self.write(tmp_path / "1" / "a", "none"), self.write(tmp_path / "2" / "a", kind)
        files = [path.relative_to(one) for path in one.rglob("*.bmp")]
        for path in files:
            before, after = (one / path).read_bytes(), (other / path).read_bytes()
            assert len(before) == len(after) > 3 * 4096
            assert (before[:4096], before[-4096:]) == (after[:4096], after[-4096:])
        size = (self.SIDE, self.SIDE)
        fixed = {"mean": [0.5] * 3, "std": [0.2] * 3}
        assert Folder(str(one), size, **fixed).fingerprint() != Folder(str(other), size, **fixed).fingerprint()
        same = self.write(tmp_path / "3" / "a", "none")
        assert Folder(str(one), size, **fixed).fingerprint() == Folder(str(same), size, **fixed).fingerprint()

    def test_an_image_that_changes_its_split_is_another_base(self, tmp_path):
        root = self.write(tmp_path / "a", "none")
        fixed = {"mean": [0.5] * 3, "std": [0.2] * 3}
        before = Folder(str(root), (8, 8), **fixed).fingerprint()
        for kind in ("images", "masks"):
            (root / "val" / kind / "a.bmp").rename(root / "held")
            (root / "test" / kind / "a.bmp").rename(root / "val" / kind / "a.bmp")
            (root / "held").rename(root / "test" / kind / "a.bmp")
        assert Folder(str(root), (8, 8), **fixed).fingerprint() != before
