"""Which layout a user's files have, and the splits found in it. Knows where files lie, and decodes none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.data.files import FilePair
from pruning_lab.data.layouts.coco import Categories, from_coco
from pruning_lab.data.layouts.division import ALSO_CALLED, SPLITS, complete
from pruning_lab.data.layouts.folders import paired
from pruning_lab.data.layouts.hints import hint
from pruning_lab.data.layouts.lists import from_lists, from_table

LAYOUT = "{train,val,test}/{images,masks}"


@dataclass(frozen=True)
class Places:
    """What a user may say about where files lie; see conf/data/folder.yaml for each key."""

    images: str = "images"
    masks: str = "masks"
    image_suffix: str = ""
    mask_suffix: str = ""
    folders: Mapping[str, str] | None = None
    lists: str | None = None
    csv: str | None = None
    coco: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        ways = {"lists": self.lists, "csv": self.csv, "coco": self.coco}
        given = [name for name, way in ways.items() if way is not None]
        if len(given) > 1:
            raise LabError(f"data.{given[0]} and data.{given[1]} are both set: leave one out")
        for key, names in (("folders", self.folders), ("coco", self.coco)):
            if names is not None and not isinstance(names, Mapping) and not (key == "coco" and isinstance(names, str)):
                raise LabError(f"data.{key} is {names}: give {{train: ..., val: ..., test: ...}}, or null")
            if isinstance(names, Mapping) and ("train" not in names or not set(names) <= set(SPLITS)):
                raise LabError(f"data.{key} has the keys {', '.join(map(str, names))}: use train, val and test")


@dataclass(frozen=True)
class Found:
    """The pairs of each split, and the names of categories by their numbers, where the files tell."""

    pairs: dict[str, list[FilePair]]
    categories: Categories = field(default_factory=dict)


def find_splits(
    root: Path,
    mask_suffix: str = "",
    split: Mapping[str, float] | None = None,
    seed: int = 0,
) -> dict[str, list[FilePair]]:
    """Return the pairs of train, val and test in the usual folders; see `find` for all other layouts."""
    return find(root, Places(mask_suffix=mask_suffix), split, seed).pairs


def find(root: Path, places: Places, split: Mapping[str, float] | None = None, seed: int = 0) -> Found:
    """Return the pairs of train, val and test. Raises LabError for another layout or an empty split."""
    if not root.is_dir():
        raise LabError(f"data.root is {root}, but there is no folder {root.resolve()}: correct data.root")
    images, masks = root / places.images, root / places.masks
    if places.csv is not None:
        table = from_table(root / places.csv, root)
        return Found(complete(table, split, seed, f"{root / places.csv} has no line"))
    if places.lists is not None:
        folder = root / places.lists
        found = from_lists(folder, root, images, masks, places.image_suffix, places.mask_suffix)
        return Found(complete(found, split, seed, f"{folder} has no list"))
    if places.coco is not None:
        files = {"train": places.coco} if isinstance(places.coco, str) else places.coco
        pairs, categories = from_coco({name: root / path for name, path in files.items()}, root, images)
        return Found(complete(pairs, split, seed, "data.coco names no file"), categories)
    folders = _folders(root, places)
    found = {name: paired(*where, root, places.image_suffix, places.mask_suffix) for name, where in folders.items()}
    return Found(complete(found, split, seed, f"{root} has no folder"))


def _folders(root: Path, places: Places) -> dict[str, tuple[Path, Path]]:
    """Return the folders of images and of masks of each split that has some; of a pool without splits, as train."""
    found = {name: where for name in SPLITS if (where := _folders_of(name, root, places)) is not None}
    if "train" in found:
        return found
    pool = (root / places.images, root / places.masks)
    if pool[0].is_dir() and places.folders is None:
        return {"train": pool}
    raise LabError(f"{root} has neither {LAYOUT} nor {{images,masks}}: {hint(root, places.images)}")


def _folders_of(split: str, root: Path, places: Places) -> tuple[Path, Path] | None:
    """Return `root`/SPLIT/{images,masks}, or `root`/{images,masks}/SPLIT, whichever is there; None if neither is."""
    if places.folders is not None and split not in places.folders:
        return None
    names = ALSO_CALLED[split] if places.folders is None else (places.folders[split],)
    for name in names:
        ways = (
            (root / name / places.images, root / name / places.masks),
            (root / places.images / name, root / places.masks / name),
        )
        for way in (*(way for way in ways if way[1].is_dir()), *ways):
            if way[0].is_dir():
                return way
        if split != "train" and (root / name).is_dir():
            return ways[0]
    return None
