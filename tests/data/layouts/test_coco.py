"""COCO files give the masks that pycocotools draws, and mistakes in them are named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as peer

from pruning_lab.common.errors import LabError
from pruning_lab.data import Folder
from pruning_lab.data.outlines import Drawing, Outline, filled, from_runs, runs_of_text
from tests.data.fakes import write_picture

SIZE = (40, 60)
RNG = np.random.default_rng(3)
IMAGE = RNG.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
CATEGORIES = [{"id": 7, "name": "cell"}, {"id": 3, "name": "wall"}]
SQUARE = [5.0, 6.0, 25.0, 6.0, 25.0, 16.0, 5.0, 16.0]
INNER = [10.0, 8.0, 14.0, 8.0, 14.0, 12.0, 10.0, 12.0]


def by_peer(polygon: list[float]) -> np.ndarray:
    return peer.decode(peer.merge(peer.frPyObjects([polygon], *SIZE))).astype(bool)


def uncompressed(inside: np.ndarray) -> list[int]:
    flat = np.concatenate([[False], inside.T.ravel()])
    changes = np.flatnonzero(np.diff(flat.astype(int))) + 0
    return np.diff(np.concatenate([[0], changes, [inside.size]])).tolist()


def annotation(segmentation: Any, category: int = 7, image: int = 0) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "segmentation": segmentation, "bbox": [0, 0, 1, 1]}


def content(*annotations: dict[str, Any], names: tuple[str, ...] = ("a.png",)) -> dict[str, Any]:
    images = [{"id": n, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for n, name in enumerate(names)]
    return {"images": images, "annotations": list(annotations), "categories": CATEGORIES}


def write(root: Path, path: str, images: str, *annotations: dict[str, Any], seed: int = 0) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(content(*annotations)))
    write_picture(root / images / "a.png", np.roll(IMAGE, seed))


@pytest.mark.parametrize(
    "polygon", [SQUARE, [0.0, 0.0, 60.0, 0.0, 60.0, 40.0, 0.0, 40.0], [1.0, 1.0, 2.0, 1.0, 2.0, 2.0, 1.0, 2.0], INNER]
)
def test_rectangles_on_the_grid_are_those_of_the_peer_to_the_pixel(polygon):
    np.testing.assert_array_equal(filled(tuple(polygon), *SIZE), by_peer(polygon))


@pytest.mark.parametrize("seed", range(25))
def test_polygons_of_any_shape_are_nearly_those_of_the_peer(seed):
    rng = np.random.default_rng(seed)
    angles, radius = np.sort(rng.random(9)) * 2 * np.pi, 8 + 10 * rng.random(9)
    polygon = np.stack([30 + radius * np.cos(angles), 20 + radius * np.sin(angles)], axis=1).ravel().tolist()
    ours, theirs = filled(tuple(polygon), *SIZE), by_peer(polygon)
    assert (ours & theirs).sum() > 0.9 * (ours | theirs).sum()
    corners = np.array(polygon).reshape(-1, 2)
    area = 0.5 * abs(np.sum(corners[:, 0] * np.roll(corners[:, 1], -1) - corners[:, 1] * np.roll(corners[:, 0], -1)))
    assert ours.sum() == pytest.approx(area, rel=0.05)


@pytest.mark.parametrize("polygon", [[-20.0, -20.0, 90.0, -20.0, 90.0, 90.0], [70.0, 5.0, 80.0, 5.0, 80.0, 9.0]])
def test_polygons_may_leave_the_image(polygon):
    inside = filled(tuple(polygon), *SIZE)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    expected = (columns - rows >= 0) if polygon[0] < 0 else np.zeros(SIZE, bool)
    assert (inside ^ expected).sum() <= SIZE[0]


@pytest.mark.parametrize("seed", range(10))
def test_run_lengths_are_those_of_the_peer(seed):
    rng = np.random.default_rng(seed)
    inside = rng.random(SIZE) < rng.random()
    packed = peer.encode(np.asfortranarray(inside.astype(np.uint8)))
    runs = runs_of_text(packed["counts"].decode())
    np.testing.assert_array_equal(from_runs(runs, *SIZE), inside)


def test_run_lengths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="add up to 5 pixels"):
        from_runs([2, 3], 2, 2)


def test_smaller_objects_lie_on_larger_ones():
    outlines = (Outline(3, (tuple(INNER),)), Outline(7, (tuple(SQUARE),)))
    drawn = [Drawing(*SIZE, order).values() for order in (outlines, outlines[::-1])]
    np.testing.assert_array_equal(*drawn)
    assert (drawn[0][9, 11], drawn[0][7, 6], drawn[0][0, 0]) == (3, 7, -1)


LAYOUTS = {
    "images and annotations": ("annotations/instances_{s}.json", "images"),
    "a folder of images for each split": ("annotations/instances_{s}.json", "images/{s}"),
    "folders named as the files": ("annotations/instances_{s}2017.json", "images/{s}2017"),
    "side by side": ("{s}/_annotations.coco.json", "{s}"),
    "images below root": ("{s}.json", "."),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_images_are_found_in_every_layout(tmp_path, name):
    path, images = LAYOUTS[name]
    shared = "{s}" not in images
    for seed, split in enumerate(("train", "val", "test")):
        where = (path.format(s=split), images.format(s=split))
        write(tmp_path, *where, annotation([SQUARE]), annotation([INNER], 3), seed=0 if shared else seed)
    coco = {split: path.format(s=split) for split in ("train", "val", "test")}
    data = Folder(str(tmp_path), SIZE, coco=coco)
    assert data.class_names == ("background", "wall", "cell")
    expected = by_peer(SQUARE) * 2
    expected[by_peer(INNER)] = 1
    for seed, split in enumerate(("train", "val", "test")):
        image, mask = data.split(split)[0]
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(image, np.roll(IMAGE, 0 if shared else seed))


@pytest.mark.parametrize("packed", [False, True])
def test_run_lengths_in_a_file(tmp_path, packed):
    inside = by_peer(SQUARE)
    counts = (
        peer.encode(np.asfortranarray(inside.astype(np.uint8)))["counts"].decode() if packed else uncompressed(inside)
    )
    segmentation = {"counts": counts, "size": list(SIZE)}
    names = tuple(f"{number}.png" for number in range(8))
    (tmp_path / "all.json").write_text(
        json.dumps(content(*(annotation(segmentation, image=number) for number in range(8)), names=names))
    )
    for number, name in enumerate(names):
        write_picture(tmp_path / "images" / name, np.roll(IMAGE, number))
    data = Folder(str(tmp_path), SIZE, coco="all.json", split={"val": 0.25, "test": 0.25}, mask_values={7: 1, 3: 0})
    assert [len(data.train), len(data.val), len(data.test)] == [4, 2, 2]
    assert data.class_names == ("class_0", "class_1")
    np.testing.assert_array_equal(data.test[1][1], inside)


def test_a_changed_outline_or_mapping_is_another_base(tmp_path):
    coco = {split: f"{split}.json" for split in ("train", "val", "test")}
    for split in coco:
        write(tmp_path, f"{split}.json", ".", annotation([SQUARE]), annotation([INNER], 3))
    options: dict[str, Any] = {"coco": coco, "mean": [0.5] * 3, "std": [0.5] * 3}
    seen = {Folder(str(tmp_path), SIZE, **options).fingerprint()}
    seen.add(Folder(str(tmp_path), SIZE, **options, mask_values={7: 1, 3: 2}).fingerprint())
    write(tmp_path, "train.json", ".", annotation([[5.0, 6.0, 25.0, 6.0, 25.0, 17.0]]), annotation([INNER], 3))
    seen.add(Folder(str(tmp_path), SIZE, **options).fingerprint())
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("categories"), r"has no list of categories: export it as COCO instances"),
        (lambda c: c.update(images={}), r"has no list of images"),
        (lambda c: c.update(annotations=[1]), r"has no list of annotations"),
        (lambda c: c.update(categories=[{"id": "x", "name": "a"}]), r"has a category without a number"),
        (lambda c: c["images"][0].update(file_name="b.png"), r"names b\.png, which is not in .*images: add it"),
        (lambda c: c["images"][0].pop("height"), r"gives the image a\.png a height and width of \(None, 60\)"),
        (lambda c: c["annotations"][0].update(image_id=9), r"has annotations of an unlisted image 9|an image 9 that"),
        (lambda c: c["annotations"][0].update(category_id=9), r"annotation 1 in .* has the category 9, which is not"),
        (lambda c: c["annotations"][0].pop("segmentation"), r"annotation 1 in .* has a box or less than 3 corners"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), r"less than 3 corners, no outline"),
        (lambda c: c["annotations"][0].update(segmentation=[["a"]]), r"has a segmentation that can't be read"),
        (lambda c: c["annotations"][0].update(segmentation={"counts": "~~~"}), r"segmentation that can't be read"),
        (lambda c: c["annotations"][0].update(segmentation={"counts": [1], "size": [40, 60]}), r"can't be read"),
    ],
)
def test_mistakes_are_named(tmp_path, change, message):
    write(tmp_path, "all.json", "images", annotation([SQUARE]))
    found = content(annotation([SQUARE]))
    change(found)
    (tmp_path / "all.json").write_text(json.dumps(found))
    with pytest.raises(LabError, match=message) as refusal:
        Folder(str(tmp_path), SIZE, coco="all.json", split={"val": 0.3, "test": 0.3})
    assert "\n" not in str(refusal.value)


def test_files_that_are_missing_no_json_or_at_odds(tmp_path):
    coco = {"train": "train.json", "val": "val.json"}
    with pytest.raises(LabError, match=r"data\.coco names .*train\.json, which does not exist"):
        Folder(str(tmp_path), SIZE, coco=coco)
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(LabError, match=r"can't read .*train\.json: it is no JSON file"):
        Folder(str(tmp_path), SIZE, coco=coco)
    write(tmp_path, "train.json", ".", annotation([SQUARE]))
    other = content(annotation([SQUARE]))
    other["categories"] = [{"id": 7, "name": "nucleus"}]
    (tmp_path / "val.json").write_text(json.dumps(other))
    with pytest.raises(LabError, match=r"val\.json calls category 7 nucleus, another file cell: rename one"):
        Folder(str(tmp_path), SIZE, coco=coco)


def test_an_outline_for_an_image_of_another_size(tmp_path):
    write(tmp_path, "all.json", "images", annotation([SQUARE]))
    write_picture(tmp_path / "images" / "a.png", IMAGE[:30])
    coco = dict.fromkeys(("train", "val", "test"), "all.json")
    with pytest.raises(LabError, match=r"all\.json is 60 x 40 pixels, but its image a\.png is 60 x 30"):
        Folder(str(tmp_path), SIZE, coco=coco)


@pytest.mark.parametrize(
    ("content", "mend"),
    [
        ({"version": "5.4", "shapes": [], "imagePath": "a.png"}, "Labelme.*labelme2coco"),
        ({"_via_img_metadata": {}, "_via_settings": {}}, "VGG Image Annotator.*as COCO"),
        ({"description": "", "size": {"height": 2, "width": 2}, "objects": []}, "Supervisely.*as COCO"),
    ],
)
def test_files_of_other_tools_are_refused_with_the_way_to_coco(content, mend, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(LabError, match=mend):
        Folder(str(tmp_path), (8, 8), coco="a.json")
