"""A user's own files: what is found, how it is divided, and what each mistake is told."""

import os
from pathlib import Path

import numpy as np
import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.data import Folder
from pruning_lab.data.layouts import divide, find_pairs, find_splits
from tests.data.fakes import write_pair, write_picture, write_splits

SIZE = (8, 10)


def classes(*values: int) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (8, 10))


def test_three_folders_are_three_splits(tmp_path):
    data = Folder(str(write_splits(tmp_path / "cells")), SIZE)
    assert [len(data.train), len(data.val), len(data.test)] == [2, 2, 2]
    assert (data.name, data.class_names, data.train.label(1)) == (
        "cells",
        ("class_0", "class_1"),
        "train/images/train1.png",
    )
    image, mask = data.val[0]
    assert (image.shape, mask.shape) == ((8, 10, 3), (8, 10))


def test_it_says_whether_images_were_resized(tmp_path):
    root = str(write_splits(tmp_path / "cells"))
    image, _ = Folder(root, SIZE).train[0]
    assert image.shape[:2] == SIZE
    assert not Folder(root, SIZE).resized
    larger = Folder(root, (8, 12))
    assert larger.resized
    assert larger.file_size == SIZE
    write_pair(tmp_path / "cells" / "test", "other", classes(0, 1)[:4])
    mixed = Folder(root, SIZE)
    assert mixed.resized
    assert mixed.file_size is None


def test_root_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    write_splits(tmp_path / "cells")
    monkeypatch.chdir(tmp_path)
    assert len(Folder("cells", SIZE).train) == 2


def test_images_and_masks_may_have_different_endings_and_lie_in_subfolders(tmp_path):
    write_pair(tmp_path, "site1/a", ending=".jpg")
    write_pair(tmp_path, "site2/a", ending=".BMP")
    (tmp_path / "images" / "notes.txt").write_text("not an image")
    write_picture(tmp_path / "images" / ".thumbnails" / "a.png", classes(0))
    assert [pair.label for pair in find_pairs(tmp_path, tmp_path)] == [
        "images/site1/a.jpg",
        "images/site2/a.BMP",
    ]


def test_masks_may_have_a_suffix(tmp_path):
    write_picture(tmp_path / "images" / "a.png", classes(0))
    write_picture(tmp_path / "masks" / "a_mask.png", classes(0))
    assert find_pairs(tmp_path, tmp_path, "_mask")[0].mask.name == "a_mask.png"


def test_classes_are_counted_over_all_splits_without_the_ignored_value(tmp_path):
    write_splits(tmp_path)
    write_pair(tmp_path / "test", "more", classes(0, 1, 2, 255))
    assert len(Folder(str(tmp_path), SIZE, ignore_index=255).class_names) == 3


def test_classes_may_be_more_than_occur(tmp_path):
    assert len(Folder(str(write_splits(tmp_path)), SIZE, classes=5).class_names) == 5


def test_mask_values_are_translated(tmp_path):
    for split in ("train", "val", "test"):
        write_pair(tmp_path / split, "a", classes(0, 255))
    data = Folder(str(tmp_path), SIZE, mask_values={0: 0, 255: 1}, class_names=["background", "cell"])
    np.testing.assert_array_equal(data.train[0][1], classes(0, 1))
    assert data.class_names == ("background", "cell")


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_fingerprints_follow_the_files_and_how_they_are_read(tmp_path, ending):
    root = str(write_splits(tmp_path))
    before = Folder(root, SIZE).fingerprint()
    assert Folder(root, SIZE).fingerprint() == before
    assert Folder(root, (4, 5)).fingerprint() != before
    for path in tmp_path.rglob("*.png"):
        os.utime(path, (0, 0))
    assert Folder(root, SIZE).fingerprint() == before
    write_pair(tmp_path / "test", "another", ending=ending)
    assert Folder(root, SIZE).fingerprint() != before


def test_files_are_read_once_if_they_fit_in_memory(tmp_path):
    data = Folder(str(write_splits(tmp_path)), SIZE)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    assert data.test[1][0].shape == (8, 10, 3)


class TestDivision:
    @pytest.fixture
    def pairs(self, tmp_path: Path):
        for number in range(20):
            write_pair(tmp_path, f"image{number}")
        return find_pairs(tmp_path, tmp_path)

    def test_parts_are_disjoint_complete_and_of_the_size_asked_for(self, pairs):
        parts = divide(pairs, {"val": 0.2, "test": 0.1}, seed=0)
        assert {name: len(part) for name, part in parts.items()} == {"val": 4, "test": 2, "train": 14}
        assert {pair.label for part in parts.values() for pair in part} == {pair.label for pair in pairs}

    def test_the_seed_alone_decides(self, pairs):
        assert divide(pairs, {"val": 0.3}, seed=1) == divide(pairs[::-1], {"val": 0.3}, seed=1)
        assert divide(pairs, {"val": 0.3}, seed=1) != divide(pairs, {"val": 0.3}, seed=2)

    def test_an_added_file_moves_hardly_any_other(self, pairs):
        before = {pair.label for pair in divide(pairs[:-1], {"val": 0.3}, seed=0)["val"]}
        after = {pair.label for pair in divide(pairs, {"val": 0.3}, seed=0)["val"]}
        assert len(before - after) <= 1

    def test_one_folder_becomes_three_splits(self, pairs, tmp_path):
        data = Folder(str(tmp_path), SIZE, split={"val": 0.25, "test": 0.25}, seed=3)
        assert [len(data.train), len(data.val), len(data.test)] == [10, 5, 5]

    def test_only_what_has_no_folder_is_taken_from_train(self, tmp_path):
        for number in range(4):
            write_pair(tmp_path / "train", f"a{number}")
        write_pair(tmp_path / "test", "b")
        parts = find_splits(tmp_path, split={"val": 0.25, "test": 0.5})
        assert {name: len(part) for name, part in parts.items()} == {"train": 3, "val": 1, "test": 1}

    @pytest.mark.parametrize("fractions", [{"val": 1.0}, {"val": 0.6, "test": 0.5}, {"val": 0}])
    def test_fractions_must_leave_some_for_training(self, pairs, fractions):
        with pytest.raises(LabError, match="between 0 and 1"):
            divide(pairs, fractions, seed=0)

    def test_a_part_without_images_is_refused(self, pairs):
        with pytest.raises(LabError, match=r"20 images are too few .* val would be empty"):
            divide(pairs, {"val": 0.01}, seed=0)


class TestMistakes:
    def refuse(self, root: Path, message: str, **arguments) -> None:
        with pytest.raises(LabError, match=message) as refusal:
            Folder(str(root), SIZE, **arguments)
        assert "\n" not in str(refusal.value)

    def test_a_missing_root(self, tmp_path):
        self.refuse(tmp_path / "nowhere", "there is no folder .*nowhere: correct data.root")

    def test_an_unknown_layout(self, tmp_path):
        (tmp_path / "pictures").mkdir()
        self.refuse(tmp_path, r"has neither \{train,val,test\}/\{images,masks\} nor \{images,masks\}")

    def test_splits_that_are_nowhere(self, tmp_path):
        write_pair(tmp_path, "a")
        self.refuse(tmp_path, r"no folder for val and test: add it, or set data\.split=\{val:0\.15,test:0\.15\}")

    def test_a_missing_folder_of_masks(self, tmp_path):
        write_picture(tmp_path / "train" / "images" / "a.png", classes(0))
        self.refuse(tmp_path, r"there is no folder .*train/masks")

    def test_an_empty_split(self, tmp_path):
        write_splits(tmp_path)
        for path in (tmp_path / "val").rglob("*.png"):
            path.unlink()
        self.refuse(tmp_path, r"val/images holds no image: put files into it \(bmp, dcm, gif, jpeg")

    def test_a_missing_mask(self, tmp_path):
        write_splits(tmp_path)
        (tmp_path / "val/masks/val1.png").unlink()
        self.refuse(tmp_path, r"val/images/val1\.png has no mask: add .*val/masks/val1\.png")

    def test_a_mask_without_an_image(self, tmp_path):
        write_splits(tmp_path)
        (tmp_path / "val/images/val1.png").unlink()
        self.refuse(tmp_path, r"val/masks/val1\.png has no image in .*val/images")

    def test_two_images_of_one_name(self, tmp_path):
        write_splits(tmp_path)
        write_picture(tmp_path / "train/images/train0.bmp", classes(0))
        self.refuse(tmp_path, r"train0\.bmp and train0\.png share a name")

    def test_an_image_and_a_mask_of_different_sizes(self, tmp_path):
        write_splits(tmp_path)
        write_picture(tmp_path / "test/masks/test0.png", classes(0, 1)[:, :5])
        self.refuse(tmp_path, r"test/masks/test0\.png is 5 x 8 pixels, but its image test0\.png is 10 x 8")

    def test_a_damaged_image_in_any_split(self, tmp_path):
        write_splits(tmp_path)
        (tmp_path / "test/images/test1.png").write_bytes(b"damaged")
        self.refuse(tmp_path, r"can't read .*test/images/test1\.png")

    def test_a_value_out_of_range_even_if_resizing_would_hide_it(self, tmp_path):
        write_splits(tmp_path)
        mask = np.zeros((80, 100), np.uint8)
        mask[3, 3] = 2
        write_pair(tmp_path / "test", "speck", mask)
        self.refuse(tmp_path, r"test/masks/speck\.png holds the value 2, but there are 2 classes", classes=2)

    def test_black_and_white_masks(self, tmp_path):
        for split in ("train", "val", "test"):
            write_pair(tmp_path / split, "a", classes(0, 255))
        self.refuse(tmp_path, r"values 0, 255 .* set data\.mask_values=\{0:0,255:1\}")
        self.refuse(tmp_path, r"holds the value 255, but .* data\.mask_values=\{0:0,255:1\}", classes=2)

    def test_an_ignored_value_that_was_not_said_to_be_one(self, tmp_path):
        write_splits(tmp_path)
        write_pair(tmp_path / "train", "a", classes(0, 1, 255))
        self.refuse(tmp_path, r"values 0, 1, 255 .* set data\.ignore_index=255")

    def test_values_with_gaps(self, tmp_path):
        write_splits(tmp_path)
        write_pair(tmp_path / "train", "a", classes(0, 1, 3))
        self.refuse(tmp_path, r"values 0, 1, 3 \(the last in .*a\.png\): set data\.mask_values=\{0:0,1:1,3:2\}")

    def test_masks_of_one_class(self, tmp_path):
        for split in ("train", "val", "test"):
            write_pair(tmp_path / split, "a", classes(0))
        self.refuse(tmp_path, "nothing to tell apart")

    def test_names_that_do_not_match_the_classes(self, tmp_path):
        write_splits(tmp_path)
        self.refuse(tmp_path, "has 1 names for 2 classes", classes=2, class_names=["cell"])

    @pytest.mark.parametrize("arguments", [{"ignore_index": 300}, {"mask_values": {0: -1}}, {"classes": 1}])
    def test_numbers_that_no_mask_can_hold(self, tmp_path, arguments):
        self.refuse(write_splits(tmp_path), r"data\.(classes|mask_values or data\.ignore_index)", **arguments)


NUCLEI = os.environ.get("PRUNING_LAB_DATA")


@pytest.mark.skipif(NUCLEI is None, reason="PRUNING_LAB_DATA names no folder of nuclei images")
def test_real_microscopy_is_read_without_being_told_anything():
    data = Folder(str(NUCLEI), (64, 64))
    assert [len(data.train), len(data.val), len(data.test)] == [200, 60, 74]
    assert len(data.class_names) == 2
    covered = np.mean([data.val[index][1].mean() for index in range(60)])
    assert 0.02 < covered < 0.5
