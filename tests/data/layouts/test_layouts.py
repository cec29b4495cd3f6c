"""Every layout that people have is read by an option, or refused with the option that would read it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from pruning_lab.common.errors import LabError
from pruning_lab.data import Folder
from pruning_lab.data.layouts.places import Places, find
from tests.data.fakes import write_picture

SIZE = (8, 10)
MASK = np.resize(np.array([0, 1, 0, 0, 1], np.uint8), SIZE)
BLACK_AND_WHITE = {"mask_values": {0: 0, 255: 1}}
IN_COLORS = {"mask_colors": [[0, 0, 0], [255, 255, 255]]}
SPLIT = {"val": 0.25, "test": 0.25}


def image_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def mask_of(number: int) -> np.ndarray:
    return np.roll(MASK, number)


def write(root: Path, pattern: str, *numbers: int) -> None:
    """Pairs of files; `pattern` is "IMAGE MASK", with {n} for the number."""
    image, mask = pattern.split()
    for number in numbers:
        write_picture(root / image.format(n=number), image_of(number))
        write_picture(root / mask.format(n=number), mask_of(number))


def contents(root: Path, **options: Any) -> dict[str, list[int]]:
    """Which images are in which split; each must have come with its own mask."""
    data = Folder(str(root), SIZE, classes=2, **options)
    known = {image_of(number).tobytes(): number for number in range(12)}
    found = {}
    for name in ("train", "val", "test"):
        split = data.split(name)
        found[name] = []
        for index in range(len(split)):
            image, mask = split[index]
            number = known[image.tobytes()]
            np.testing.assert_array_equal(mask, mask_of(number))
            found[name].append(number)
    return found


EXPECTED = {"train": [0, 1, 2], "val": [3], "test": [4, 5]}
NUMBERS = {"train": (0, 1, 2), "val": (3,), "test": (4, 5)}
BY_SPLIT = {
    "a folder for each split": ("{s}/images/{{n}}.png {s}/masks/{{n}}.png", {}),
    "a folder for each kind": ("images/{s}/{{n}}.png masks/{s}/{{n}}.png", {}),
    "other names": ("{s}/imgs/{{n}}.png {s}/gt/{{n}}.png", {"images": "imgs", "masks": "gt"}),
    "other names, kinds first": ("JPEG/{s}/{{n}}.png labels/{s}/{{n}}.png", {"images": "JPEG", "masks": "labels"}),
    "a suffix on the mask": ("{s}/images/{{n}}.png {s}/masks/{{n}}_mask.png", {"mask_suffix": "_mask"}),
    "a suffix on the image": ("{s}/images/{{n}}_rgb.png {s}/masks/{{n}}.png", {"image_suffix": "_rgb"}),
    "suffixes on both": (
        "{s}/images/{{n}}_rgb.png {s}/masks/{{n}}_gt.png",
        {"image_suffix": "_rgb", "mask_suffix": "_gt"},
    ),
    "side by side": ("{s}/{{n}}.png {s}/{{n}}_mask.png", {"images": ".", "masks": ".", "mask_suffix": "_mask"}),
    "side by side, both with suffixes": (
        "{s}/{{n}}_rgb.png {s}/{{n}}_mask.png",
        {"images": ".", "masks": ".", "mask_suffix": "_mask", "image_suffix": "_rgb"},
    ),
    "masks below the images": ("{s}/{{n}}.png {s}/masks/{{n}}.png", {"images": "."}),
    "subfolders": ("{s}/images/site/{{n}}.png {s}/masks/site/{{n}}.png", {}),
}


@pytest.mark.parametrize("name", BY_SPLIT)
def test_splits_in_folders(tmp_path, name):
    pattern, options = BY_SPLIT[name]
    for split, numbers in NUMBERS.items():
        write(tmp_path, pattern.format(s=split), *numbers)
    assert contents(tmp_path, **options) == EXPECTED


@pytest.mark.parametrize("kinds_first", [False, True])
@pytest.mark.parametrize(
    ("names", "options"),
    [
        (("training", "validation", "testing"), {}),
        (("train", "valid", "test"), {}),
        (("a", "b", "c"), {"folders": {"train": "a", "val": "b", "test": "c"}}),
    ],
)
def test_splits_of_other_names(tmp_path, kinds_first, names, options):
    for name, numbers in zip(names, NUMBERS.values(), strict=True):
        pattern = "images/{s}/{{n}}.png masks/{s}/{{n}}.png"
        pattern = pattern if kinds_first else "{s}/images/{{n}}.png {s}/masks/{{n}}.png"
        write(tmp_path, pattern.format(s=name), *numbers)
    assert contents(tmp_path, **options) == EXPECTED


def test_folders_that_are_not_named_are_taken_from_train(tmp_path):
    for name, numbers in {"train": range(8), "val": (8, 9), "test": (10, 11)}.items():
        write(tmp_path, f"{name}/images/{{n}}.png {name}/masks/{{n}}.png", *numbers)
    found = contents(tmp_path, folders={"train": "train", "test": "val"}, split={"val": 0.25})
    assert found["test"] == [8, 9]
    assert sorted(found["train"] + found["val"]) == list(range(8))


@pytest.mark.parametrize("inside", [False, True])
def test_linked_folders_are_entered_and_circles_are_not(tmp_path, inside):
    write(tmp_path / "elsewhere", "images/{n}.png masks/{n}.png", *range(8))
    for kind in ("images", "masks"):
        target = tmp_path / "data" / kind
        if inside:
            target.mkdir(parents=True)
            os.symlink(tmp_path / "elsewhere" / kind, target / "linked")
            os.symlink(target, target / "circle")
        else:
            target.parent.mkdir(exist_ok=True)
            os.symlink(tmp_path / "elsewhere" / kind, target)
    found = contents(tmp_path / "data", split=SPLIT)
    assert sorted(number for numbers in found.values() for number in numbers) == list(range(8))


class TestLists:
    @pytest.mark.parametrize("line", ["{n}", "{n}.png", "in/{n}.png out/{n}.png", "  {n}  \n# a remark\n"])
    def test_names_and_paths(self, tmp_path, line):
        write(tmp_path, "in/{n}.png out/{n}.png", *range(12))
        (tmp_path / "lists").mkdir()
        for split, numbers in NUMBERS.items():
            text = "\n".join(line.format(n=number) for number in numbers)
            (tmp_path / "lists" / f"{split}.txt").write_text(text)
        assert contents(tmp_path, lists="lists", images="in", masks="out") == EXPECTED

    def test_a_list_that_is_missing_is_taken_from_train(self, tmp_path):
        write(tmp_path, "images/{n}.png masks/{n}.png", *range(12))
        (tmp_path / "train.txt").write_text("\n".join(map(str, range(8))))
        (tmp_path / "val.txt").write_text("8\n9\n")
        found = contents(tmp_path, lists=".", split={"test": 0.25})
        assert found["val"] == [8, 9]
        assert [len(found["train"]), len(found["test"])] == [6, 2]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("7", r"train\.txt line 2 names 7, but there is no image .*images/7\.\*: correct it"),
            ("a b", r"train\.txt line 2 names .*/a, which does not exist: correct it; paths are relative"),
        ],
    )
    def test_a_name_without_a_file(self, tmp_path, line, message):
        write(tmp_path, "images/{n}.png masks/{n}.png", 0)
        (tmp_path / "train.txt").write_text(f"0\n{line}\n")
        with pytest.raises(LabError, match=message):
            find(tmp_path, Places(lists="."), SPLIT)

    def test_no_list(self, tmp_path):
        with pytest.raises(LabError, match=r"there is no .*lists/train\.txt: add it"):
            find(tmp_path, Places(lists="lists"), SPLIT)


class TestTable:
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    @pytest.mark.parametrize("start", ["", "\ufeff"])
    def test_with_splits(self, tmp_path, separator, start):
        write(tmp_path, "some/x{n}y.png other/q{n}.png", *range(12))
        rows = [
            separator.join([f"other/q{number}.png", split, f"some/x{number}y.png"])
            for split, numbers in NUMBERS.items()
            for number in numbers
        ]
        text = start + "\n".join([separator.join(["Mask", "split", "image"]), *rows, ""])
        (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
        assert contents(tmp_path, csv="pairs.csv") == EXPECTED

    def test_without_splits_and_with_absolute_paths(self, tmp_path):
        write(tmp_path / "far", "{n}.png m{n}.png", *range(8))
        (tmp_path / "data").mkdir()
        rows = [f"{tmp_path}/far/{number}.png,{tmp_path}/far/m{number}.png" for number in range(8)]
        (tmp_path / "data" / "pairs.csv").write_text("\n".join(["image,mask", *rows]))
        found = contents(tmp_path / "data", csv="pairs.csv", split=SPLIT)
        assert sorted(number for numbers in found.values() for number in numbers) == list(range(8))
        assert len(found["val"]) == 2

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", r"has the columns \[\]: its first line must name image and mask"),
            ("image,label\n", r"has the columns \['image', 'label'\]: its first line must name image and mask"),
            ("image,mask,split\n0.png,m0.png,dev\n", r"line 2 has the split 'dev': use train, val or test"),
            ("image,mask\n0.png\n", r"line 2 has 1 of 2 cells, or empty ones: correct it"),
            ("image,mask\n0.png,\n", r"line 2 has 2 of 2 cells, or empty ones"),
            ("image,mask\n0.png,m9.png\n", r"line 2 names .*m9\.png, which does not exist"),
            ("image,mask,split\n0.png,m0.png,val\n", r"names no image of train"),
            ("image,mask\n0.png,m0.png\n", r"has no line for val and test: add it, or set data\.split"),
        ],
    )
    def test_mistakes(self, tmp_path, text, message):
        write(tmp_path, "{n}.png m{n}.png", 0)
        (tmp_path / "pairs.csv").write_text(text)
        with pytest.raises(LabError, match=message) as refusal:
            find(tmp_path, Places(csv="pairs.csv"))
        assert "\n" not in str(refusal.value)

    def test_a_table_that_is_missing_or_no_text(self, tmp_path):
        with pytest.raises(LabError, match=r"data\.csv is .*pairs\.csv, which does not exist"):
            find(tmp_path, Places(csv="pairs.csv"))
        (tmp_path / "pairs.csv").write_bytes("image,mask\nä.png,m.png".encode("latin-1"))
        with pytest.raises(LabError, match=r"pairs\.csv is no UTF-8 text: save it as UTF-8"):
            find(tmp_path, Places(csv="pairs.csv"))


class TestHints:
    """A layout that needs an option is told which."""

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            (["leftImg8bit/train/a/x.png"], r"looks like Cityscapes, so use data=cityscapes"),
            (["JPEGImages/x.jpg"], r"looks like PASCAL VOC, so use data=voc_own"),
            (["annotations/instances.json"], r"use data=coco data\.coco=annotations/instances\.json"),
            (["pairs.csv"], r"may be a table of pairs, so use data\.csv=pairs\.csv"),
            (["imgs/x.png", "labels/x.png"], r"set data\.images=imgs data\.masks=labels"),
            (["train/Image/x.png", "train/GT/x.png"], r"set data\.images=Image data\.masks=GT"),
            (["something/x.png"], r"lay the files out so, or correct data\.root"),
        ],
    )
    def test_what_a_folder_looks_like(self, tmp_path, files, message):
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
        with pytest.raises(LabError, match=message):
            find(tmp_path, Places())

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            ("0_mask.png", r"has no mask, but there is .*0_mask\.png: set data\.mask_suffix=_mask"),
            ("0.json", r"has no mask, but there is .*0\.json \(outlines\): export masks as PNG, or as COCO"),
            ("mask0.png", r"add .*masks/0\.png, take the image out, or set data\.mask_suffix; .* set data\.csv"),
        ],
    )
    def test_an_image_whose_mask_is_called_otherwise(self, tmp_path, mask, message):
        write(tmp_path, f"images/{{n}}.png masks/{mask}.png", 0)
        (tmp_path / "masks" / f"{mask}.png").rename(tmp_path / "masks" / mask)
        with pytest.raises(LabError, match=message):
            find(tmp_path, Places())

    def test_images_and_masks_in_one_folder_need_a_suffix(self, tmp_path):
        write(tmp_path, "both/{n}.png both/{n}_m.png", 0)
        with pytest.raises(LabError, match=r"both is to hold images and masks: set data\.mask_suffix"):
            find(tmp_path, Places(images="both", masks="both"))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"csv": "a", "coco": "b"}, r"data\.csv and data\.coco are both set: leave one out"),
            ({"lists": "a", "csv": "b"}, r"data\.lists and data\.csv are both set"),
            ({"folders": {"val": "a"}}, r"data\.folders has the keys val: use train, val and test"),
            ({"folders": {"train": "a", "dev": "b"}}, r"data\.folders has the keys train, dev"),
            ({"folders": ["a"]}, r"data\.folders is \['a'\]: give \{train: "),
            ({"coco": 5}, r"data\.coco is 5: give \{train: "),
            ({"coco": {"valid": "a"}}, r"data\.coco has the keys valid"),
        ],
    )
    def test_options_that_contradict_each_other(self, options, message):
        with pytest.raises(LabError, match=message):
            Places(**options)


class TestWarnings:
    def make(self, root: Path, **options: Any) -> Folder:
        return Folder(str(root), SIZE, **options)

    def fill(self, root: Path) -> Path:
        for split, numbers in NUMBERS.items():
            write(root, f"{split}/images/{{n}}.png {split}/masks/{{n}}.png", *numbers)
        return root

    def test_nothing_is_said_of_good_data(self, tmp_path, caplog):
        self.make(self.fill(tmp_path))
        assert caplog.text == ""

    def test_a_split_that_is_a_copy_of_another(self, tmp_path, caplog):
        self.fill(tmp_path)
        write(tmp_path, "test/images/copy{n}.png test/masks/copy{n}.png", 0, 3)
        self.make(tmp_path)
        assert "1 of 4 images of test are images of train as well, e.g. test/images/copy0.png" in caplog.text
        assert "1 of 4 images of test are images of val as well, e.g. test/images/copy3.png" in caplog.text
        assert "of val are images of train" not in caplog.text

    @pytest.mark.parametrize("split", ["train", "val", "test"])
    def test_a_class_that_is_absent_in_a_split(self, tmp_path, caplog, split):
        self.fill(tmp_path)
        for path in (tmp_path / split / "masks").iterdir():
            write_picture(path, np.zeros(SIZE, np.uint8))
        self.make(tmp_path)
        assert caplog.text.count("no mask of") == 1
        assert f"no mask of {split} holds the class 1: its score there says nothing" in caplog.text

    def test_a_split_of_which_nothing_counts(self, tmp_path, caplog):
        self.fill(tmp_path)
        write_picture(tmp_path / "val/masks/3.png", np.full(SIZE, 255, np.uint8))
        self.make(tmp_path, ignore_index=255)
        assert "all pixels of val are data.ignore_index: no score can be computed on it" in caplog.text

    def test_a_mask_of_hundreds_of_values(self, tmp_path, caplog):
        self.fill(tmp_path)
        noise = np.random.default_rng(0).permutation(np.arange(80, dtype=np.uint8)).reshape(SIZE)
        write_picture(tmp_path / "val/masks/3.png", noise)
        self.make(tmp_path, classes=256)
        assert "val/masks/3.png holds 80 different values, as a JPEG of a mask does: set" in caplog.text


@pytest.mark.parametrize(
    ("suffix", "options", "message"),
    [
        (".jpg", BLACK_AND_WHITE, r"data\.mask_values does not list: add it there, or set data\.mask_nearest"),
        (".webp", BLACK_AND_WHITE, r"is a color picture: .* set data\.mask_colors and data\.mask_nearest"),
        (".webp", IN_COLORS, r"data\.mask_colors does not list: .* data\.mask_nearest"),
    ],
)  # fmt: skip
def test_a_mask_that_a_jpeg_spoilt_is_mended(tmp_path, suffix, options, message):
    root = TestWarnings().fill(tmp_path)
    # Blocks of 6 lie across the blocks of 8 that a JPEG keeps exactly.
    big = np.kron(MASK, np.ones((6, 6), np.uint8)) * np.uint8(255)
    for path in list(root.rglob("masks/*.png")):
        Pillow.fromarray(big).save(path.with_suffix(suffix), quality=60)
        write_picture(path.parents[1] / "images" / path.name, np.kron(image_of(0), np.ones((6, 6, 1), np.uint8)))
        path.unlink()
    with pytest.raises(LabError, match=message):
        Folder(str(root), (48, 60), **options)
    if "color picture" not in message:
        data = Folder(str(root), (48, 60), **options, mask_nearest=True)
        assert (data.train[0][1] == big // 255).mean() > 0.99
