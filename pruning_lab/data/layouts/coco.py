"""Splits from COCO files: images, categories, and objects as polygons or run lengths. Knows no pixels."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning_lab.common.errors import LabError
from pruning_lab.data.files import FilePair
from pruning_lab.data.outlines import Drawing, Outline, runs_of_text

KEYS = ("images", "annotations", "categories")
OF_OTHER_TOOLS = {
    "shapes": "Labelme",
    "_via_img_metadata": "the VGG Image Annotator",
    "objects": "Supervisely",
}
"""A key that only the JSON files of another tool have -> the tool."""
BY_TOOL = {
    "Labelme": "turn the folder into a COCO file (labelme2coco), or into masks (labelme_export_json)",
    "the VGG Image Annotator": "export the project as COCO",
    "Supervisely": "export the project as COCO, or as masks",
}
LEAST_POLYGON = 6
"""Numbers of a polygon: three corners."""

Categories = dict[int, str]


def from_coco(files: Mapping[str, Path], root: Path, images: Path) -> tuple[dict[str, list[FilePair]], Categories]:
    """Return the splits of COCO files by split, and the categories, number -> name.

    An image is looked for in `images`, in its subfolder of the split's or the file's name, beside the COCO file, and
    below `root`. Raises LabError naming the file, and the image or annotation that is wrong.
    """
    categories: Categories = {}
    found = {}
    for split, path in files.items():
        content = _read(path)
        for number, name in _categories(path, content):
            if categories.setdefault(number, name) != name:
                raise LabError(f"{path} calls category {number} {name}, another file {categories[number]}: rename one")
        folders = (images, images / split, images / path.stem.rpartition("_")[2], path.parent, root)
        found[split] = _pairs(path, content, root, folders, categories)
    return found, categories


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabError(f"data.coco names {path}, which does not exist: it is relative to data.root") from None
    except (OSError, ValueError) as problem:
        raise LabError(f"can't read {path}: it is no JSON file; export it again") from problem
    for key, tool in OF_OTHER_TOOLS.items():
        if isinstance(content, dict) and key in content and "annotations" not in content:
            raise LabError(f"{path} is a file of {tool}, which is not read: {BY_TOOL[tool]}")
    for key in KEYS:
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise LabError(f"{path} has no list of {key}: export it as COCO instances (object detection)")
    return dict(content)


def _categories(path: Path, content: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for entry in content["categories"]:
        if type(entry.get("id")) is not int or entry["id"] < 0 or "name" not in entry:
            raise LabError(f"{path} has a category without a number (0 or more) or a name: {entry}")
        yield entry["id"], str(entry["name"])


def _pairs(
    path: Path, content: Mapping[str, Any], root: Path, folders: Sequence[Path], categories: Categories
) -> list[FilePair]:
    objects: dict[Any, list[Outline]] = {}
    for annotation in content["annotations"]:
        objects.setdefault(annotation.get("image_id"), []).append(_outline(path, annotation, categories))
    pairs = []
    for image in content["images"]:
        name, sides = str(image.get("file_name")), (image.get("height"), image.get("width"))
        if not all(type(side) is int and side > 0 for side in sides):
            raise LabError(f"{path} gives the image {name} a height and width of {sides}: export it again")
        file = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if file is None:
            raise LabError(f"{path} names {name}, which is not in {folders[0]}: add it, or correct data.images")
        outlines = tuple(objects.pop(image.get("id"), ()))
        pairs.append(FilePair(file, path, _label(file, root), drawing=Drawing(sides[0], sides[1], outlines)))
    if objects:
        raise LabError(
            f"{path} has annotations of an image {next(iter(objects))} that it does not list: export it again"
        )
    return sorted(pairs, key=lambda pair: pair.label)


def _outline(path: Path, annotation: Mapping[str, Any], categories: Categories) -> Outline:
    where = f"annotation {annotation.get('id')} in {path}"
    category = annotation.get("category_id")
    if category not in categories:
        raise LabError(f"{where} has the category {category}, which is not listed there: export it again")
    shape = annotation.get("segmentation")
    try:
        if isinstance(shape, Mapping):
            return Outline(category, runs=_runs(shape))
        polygons = tuple(tuple(float(number) for number in polygon) for polygon in shape or ())
    except (TypeError, KeyError, ValueError, IndexError) as problem:
        raise LabError(f"{where} has a segmentation that can't be read ({problem}): export it again") from problem
    if not polygons or any(len(polygon) < LEAST_POLYGON or len(polygon) % 2 for polygon in polygons):
        raise LabError(f"{where} has a box or less than 3 corners, no outline: export segmentations, or take it out")
    return Outline(category, polygons)


def _runs(shape: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the run lengths of an object. Raises ValueError if they don't add up to its image."""
    counts = shape["counts"]
    runs = runs_of_text(counts) if isinstance(counts, str) else tuple(int(count) for count in counts)
    height, width = shape["size"]
    if sum(runs) != height * width or min(runs) < 0:
        raise ValueError(f"runs of {sum(runs)} pixels for {height} x {width}")
    return runs


def _label(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
