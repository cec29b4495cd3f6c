"""Pairs found by their names in a folder of images and a folder of masks. Knows names, and opens no file."""

import os
from collections.abc import Iterator
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.data.files import FilePair
from pruning_lab.data.formats import IMAGE_SUFFIXES, stem_of, suffix_of

NO_PICTURES = {".json": "outlines", ".txt": "outlines or lists", ".xml": "outlines"}


def find_pairs(
    folder: Path,
    root: Path,
    mask_suffix: str = "",
    image_suffix: str = "",
    images: str = "images",
    masks: str = "masks",
) -> list[FilePair]:
    """Return the pairs in `folder`/{images,masks} and below, sorted; labels are relative to `root`.

    A mask belongs to the image of the same name, apart from the ending and the two suffixes. Raises LabError for a
    missing folder, an image without a mask, a mask without an image, and two of one name.
    """
    return paired(folder / images, folder / masks, root, image_suffix, mask_suffix)


def paired(images: Path, masks: Path, root: Path, image_suffix: str, mask_suffix: str) -> list[FilePair]:
    """Return the pairs of a folder of images and a folder of masks, which may be the same."""
    together = images.resolve() == masks.resolve()
    if together and image_suffix == mask_suffix:
        raise LabError(
            f"{images} is to hold images and masks: set data.mask_suffix to what tells masks apart, e.g. _mask"
        )
    pictures = files_by_name(images, image_suffix, other=mask_suffix if together else "", without=masks)
    drawn = files_by_name(masks, mask_suffix, other=image_suffix if together else "", without=images)
    if not pictures:
        kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        with_suffix = f" whose name ends in {image_suffix}" if image_suffix else ""
        raise LabError(f"{images} holds no image{with_suffix}: put files into it ({kinds})")
    pairs = []
    for name, image in pictures.items():
        mask = drawn.pop(name, None)
        if mask is None:
            raise LabError(_no_mask(image, name, masks, mask_suffix))
        pairs.append(FilePair(image, mask, image.relative_to(root).as_posix()))
    if drawn:
        orphan = next(iter(drawn.values()))
        raise LabError(f"{orphan} has no image in {images}: add the image, or take the mask out")
    return pairs


def files_by_name(folder: Path, suffix: str = "", other: str = "", without: Path | None = None) -> dict[str, Path]:
    """Return image files by their path below `folder` without ending and `suffix`, sorted; links are followed.

    Files whose names don't end in `suffix` are left out, so are those that end in `other`, if that is the longer one,
    and so is the folder `without`, if it lies below. Raises LabError for a missing folder, and two files of one name.
    """
    if not folder.is_dir():
        raise LabError(f"there is no folder {folder}: make it, with the files in it")
    files: dict[str, Path] = {}
    left_out = without if without is not None and without.resolve() != folder.resolve() else None
    for path in sorted(below(folder, left_out)):
        stem = stem_of(path)
        is_other = bool(other) and stem.endswith(other) and len(other) > len(suffix)
        if suffix_of(path) not in IMAGE_SUFFIXES or not stem.endswith(suffix) or is_other:
            continue
        name = path.relative_to(folder).with_name(stem.removesuffix(suffix) or stem).as_posix()
        if name in files:
            raise LabError(f"{files[name]} and {path.name} share a name: take one of the two out")
        files[name] = path
    return files


def below(folder: Path, without: Path | None = None) -> Iterator[Path]:
    """Yield all files below a folder that aren't hidden; a linked folder is entered once, and `without` never.

    Raises LabError for a folder that may not be looked into.
    """
    entered = set() if without is None else {os.path.realpath(without)}
    for parent, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        real = os.path.realpath(parent)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _unreadable(problem: OSError) -> None:
    raise LabError(f"{problem.filename} can't be looked into ({problem.strerror}): let it be read") from problem


def _no_mask(image: Path, name: str, masks: Path, mask_suffix: str) -> str:
    """Say that an image has no mask, and what would find it."""
    last = name.rpartition("/")[2]
    for path in sorted(below(masks)):
        stem = stem_of(path)
        if stem.startswith(last) and stem != last and suffix_of(path) in IMAGE_SUFFIXES:
            return f"{image} has no mask, but there is {path}: set data.mask_suffix={stem.removeprefix(last)}"
        if suffix_of(path) in NO_PICTURES and stem.startswith(last):
            kind = NO_PICTURES[suffix_of(path)]
            return f"{image} has no mask, but there is {path} ({kind}): export masks as PNG, or as COCO for data=coco"
    expected = masks / f"{name}{mask_suffix}.png"
    return (
        f"{image} has no mask: add {expected}, take the image out, or set data.mask_suffix; if the names differ in "
        "another way, list the pairs in a table and set data.csv"
    )
