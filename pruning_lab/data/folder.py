"""The data set of a user's own files: finds images and masks in folders. Knows layouts, not decoding."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pruning_lab.common.errors import LabError
from pruning_lab.data.checking import read_splits
from pruning_lab.data.contract import SegmentationData, channel_statistics, checked_size
from pruning_lab.data.digests import memory_for
from pruning_lab.data.files import FilePair
from pruning_lab.data.formats import IMAGE_SUFFIXES, stem_of, suffix_of
from pruning_lab.data.masks import MaskRules
from pruning_lab.data.reading import MEGAPIXELS, Reading

LAYOUT = "{train,val,test}/{images,masks}"


class Folder(SegmentationData):
    """Images and masks in `root`/{train,val,test}/{images,masks}, or in `root`/{images,masks} with a `split`.

    A mask belongs to the image whose name it has, apart from the ending and `mask_suffix`. `root` is relative
    to the working directory; `size` is (height, width), to which all are resized. `classes` are counted and
    `class_names` numbered if None. `ignore_index` is the mask value that does not count. `mask_values` maps
    values in the files to classes, e.g. {0: 0, 255: 1}. `split` gives the fractions of the training files
    that become the splits that have no folder, e.g. {val: 0.15, test: 0.15}, chosen by `seed`. Raises
    LabError naming the file or key that is wrong.
    """

    def __init__(
        self,
        root: str,
        size: Sequence[int] = (128, 128),
        classes: int | None = None,
        class_names: Sequence[str] | None = None,
        ignore_index: int | None = None,
        mask_values: Mapping[int, int] | None = None,
        mask_suffix: str = "",
        split: Mapping[str, float] | None = None,
        seed: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channels: int | Sequence[int] | None = None,
        scale: Any = None,
        pages: str | None = None,
        orientation: str | None = None,
        megapixels: float = MEGAPIXELS,
        cache_mb: float = 1024,
    ) -> None:
        if classes is None and class_names is not None:
            classes = len(class_names)
        values = None if mask_values is None else {int(key): int(value) for key, value in mask_values.items()}
        pairs = find_splits(Path(root), mask_suffix, split, seed)
        rules = MaskRules(classes, ignore_index, values)
        reading = Reading(channels, scale, pages, orientation, megapixels)
        read = read_splits(pairs, checked_size(size), rules, cache_mb, reading, memory_for(Path(root)))
        names = [f"class_{number}" for number in range(read.classes)] if class_names is None else list(class_names)
        if len(names) != read.classes:
            raise LabError(
                f"data.class_names has {len(names)} names for {read.classes} classes: give one for each class"
            )
        used_mean, used_std = channel_statistics(read.splits["train"], mean, std)
        super().__init__(
            name=Path(root).resolve().name,
            class_names=tuple(names),
            ignore_index=ignore_index,
            mean=used_mean,
            std=used_std,
            identity=read.identity,
            channels=read.channels,
            scale=read.scale,
            about=read.about,
            train=read.splits["train"],
            val=read.splits["val"],
            test=read.splits["test"],
        )


def find_splits(
    root: Path, mask_suffix: str = "", split: Mapping[str, float] | None = None, seed: int = 0
) -> dict[str, list[FilePair]]:
    """Return the pairs of train, val and test. Raises LabError for another layout or an empty split."""
    if not root.is_dir():
        raise LabError(f"data.root is {root}, but there is no folder {root.resolve()}: correct data.root")
    pool = root if (root / "images").is_dir() else root / "train"
    if not (pool / "images").is_dir():
        raise LabError(f"{root} has neither {LAYOUT} nor {{images,masks}}: lay the files out so, or correct data.root")
    found = {"train": find_pairs(pool, root, mask_suffix)}
    missing = []
    for name in ("val", "test"):
        if pool != root and (root / name).is_dir():
            found[name] = find_pairs(root / name, root, mask_suffix)
        else:
            missing.append(name)
    if not missing:
        return found
    fractions = dict(split or {})
    if any(name not in fractions for name in missing):
        example = ",".join(f"{name}:0.15" for name in missing)
        raise LabError(f"{root} has no folder for {' and '.join(missing)}: add it, or set data.split={{{example}}}")
    found |= divide(found["train"], {name: fractions[name] for name in missing}, seed)
    return {name: found[name] for name in ("train", "val", "test")}


def find_pairs(folder: Path, root: Path, mask_suffix: str = "") -> list[FilePair]:
    """Return the pairs in `folder`/{images,masks} and below, sorted; labels are relative to `root`.

    Raises LabError for a missing folder, an image without a mask, a mask without an image, and two of one
    name.
    """
    images, masks = _files_by_name(folder / "images"), _files_by_name(folder / "masks")
    if not images:
        kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise LabError(f"{folder / 'images'} holds no image: put files into it ({kinds})")
    pairs = []
    for name, image in images.items():
        mask = masks.pop(name + mask_suffix, None)
        if mask is None:
            expected = folder / "masks" / f"{name}{mask_suffix}.png"
            raise LabError(f"{image} has no mask: add {expected}, take the image out, or set data.mask_suffix")
        pairs.append(FilePair(image, mask, image.relative_to(root).as_posix()))
    if masks:
        orphan = next(iter(masks.values()))
        raise LabError(f"{orphan} has no image in {folder / 'images'}: add the image, or take the mask out")
    return pairs


def _files_by_name(folder: Path) -> dict[str, Path]:
    """Return image files by their path below `folder` without its ending, sorted."""
    if not folder.is_dir():
        raise LabError(f"there is no folder {folder}: make it, with the files in it")
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if suffix_of(path) not in IMAGE_SUFFIXES or any(part.startswith(".") for part in below.parts):
            continue
        name = below.with_name(stem_of(path)).as_posix()
        if name in files:
            raise LabError(f"{files[name]} and {path.name} share a name: take one of the two out")
        files[name] = path
    return files


def divide(pairs: Sequence[FilePair], fractions: Mapping[str, float], seed: int) -> dict[str, list[FilePair]]:
    """Return `pairs` divided into the named parts, rounded to whole files, and "train", which gets the rest.

    Files are drawn in the order of a hash of seed and label, so that a file added later moves hardly any
    other. Raises LabError for fractions out of range, or if a part would stay empty.
    """
    if any(not 0 < fraction < 1 for fraction in fractions.values()) or sum(fractions.values()) >= 1:
        raise LabError(f"the fractions {dict(fractions)} must lie between 0 and 1 and leave some for training")
    order = sorted(pairs, key=lambda pair: sha256(f"{seed} {pair.label}".encode()).digest())
    parts = {}
    start = 0
    for name, fraction in fractions.items():
        stop = start + round(fraction * len(order))
        parts[name] = sorted(order[start:stop], key=lambda pair: pair.label)
        start = stop
    parts["train"] = sorted(order[start:], key=lambda pair: pair.label)
    for name, part in parts.items():
        if not part:
            raise LabError(f"{len(pairs)} images are too few for {dict(fractions)}: {name} would be empty; add images")
    return parts
