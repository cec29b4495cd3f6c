"""The options of `data` for known layouts read files laid out so, without more words than the root."""

from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image as Pillow

from pruning_lab.data import SegmentationData
from tests.data.fakes import write_picture
from tests.data.layouts.test_coco import SQUARE, annotation, by_peer, write
from tests.paths import CONF

SIZE = (40, 60)


def made(option: str, root: Path, **more: Any) -> SegmentationData:
    configs = [OmegaConf.load(CONF / "data" / f"{name}.yaml") for name in ("folder", option)]
    merged = OmegaConf.merge(*configs, {"root": str(root), "size": list(SIZE), **more})
    merged.pop("defaults")
    return hydra.utils.instantiate(merged, _convert_="all")


def image_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def test_cityscapes(tmp_path):
    ids = np.resize(np.arange(34, dtype=np.uint8), SIZE)
    for split, count in {"train": 10, "val": 3, "test": 2}.items():
        for number in range(count):
            stem = f"bonn/bonn_{number:06}_000019"
            write_picture(tmp_path / f"leftImg8bit/{split}/{stem}_leftImg8bit.png", image_of(number + 20 * len(split)))
            for kind in ("color", "instanceIds", "labelIds"):
                write_picture(tmp_path / f"gtFine/{split}/{stem}_gtFine_{kind}.png", ids)
            (tmp_path / f"gtFine/{split}/{stem}_gtFine_polygons.json").write_text("{}")
    data = made("cityscapes", tmp_path)
    assert [len(data.train), len(data.val), len(data.test)] == [9, 1, 3]
    assert data.test.label(0) == "leftImg8bit/val/bonn/bonn_000000_000019_leftImg8bit.png"
    assert (len(data.class_names), data.class_names[0], data.class_names[18]) == (19, "road", "bicycle")
    mask = data.train[0][1]
    found = {int(ids[place]): int(mask[place]) for place in np.ndindex(*SIZE)}
    # The benchmark's trainIds of road, building, sky, car, bicycle, and of what does not count.
    assert [found[number] for number in (7, 11, 23, 26, 33, 0, 9, 29)] == [0, 2, 10, 13, 18, 255, 255, 255]
    assert sorted(value for value in found.values() if value != 255) == list(range(19))


def test_voc_own(tmp_path):
    for number in range(12):
        Pillow.fromarray(image_of(number)).save(write_parent(tmp_path / f"JPEGImages/{number}.jpg"))
        mask = Pillow.fromarray(np.resize(np.array([0, 1, 2, 255], np.uint8), SIZE))
        mask.putpalette([value for index in range(256) for value in (255 - index, index, 7)])
        mask.save(write_parent(tmp_path / f"SegmentationClass/{number}.png"))
    for split, numbers in {"train": range(8), "val": range(8, 12)}.items():
        path = write_parent(tmp_path / f"ImageSets/Segmentation/{split}.txt")
        path.write_text("\n".join(map(str, numbers)))
    data = made("voc_own", tmp_path, split={"test": 0.25})
    assert [len(data.train), len(data.val), len(data.test)] == [6, 4, 2]
    assert (len(data.class_names), data.ignore_index) == (3, 255)
    np.testing.assert_array_equal(data.val[0][1][0, :4], [0, 1, 2, 255])


def test_coco(tmp_path):
    for seed, split in enumerate(("train", "val")):
        write(tmp_path, f"annotations/instances_{split}.json", f"images/{split}", annotation([SQUARE]), seed=seed)
    write(tmp_path, "annotations/test.json", "images/test", annotation([SQUARE]), seed=2)
    coco = {"test": "annotations/test.json"}
    data = made("coco", tmp_path, coco=coco)
    assert data.class_names == ("background", "wall", "cell")
    np.testing.assert_array_equal(data.test[0][1], by_peer(SQUARE) * 2)


def write_parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize("option", ["coco", "voc_own", "cityscapes"])
def test_a_preset_changes_keys_of_folder_only(option):
    folder, preset = (OmegaConf.load(CONF / "data" / f"{name}.yaml") for name in ("folder", option))
    assert set(preset) - {"defaults"} <= set(folder)
