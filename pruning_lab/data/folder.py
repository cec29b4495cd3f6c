"""The data set of a user's own files, in any of the layouts that people have. Knows options, not where files lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning_lab.common.errors import LabError
from pruning_lab.data.checking import read_splits
from pruning_lab.data.contract import SegmentationData, channel_statistics, checked_size
from pruning_lab.data.digests import memory_for
from pruning_lab.data.formats.contract import Axis
from pruning_lab.data.layouts.places import Places, find
from pruning_lab.data.masks import MaskRules, colors_table, values_table
from pruning_lab.data.outlines import BACKGROUND
from pruning_lab.data.reading import MEGAPIXELS, Reading


class Folder(SegmentationData):
    """Images and masks below `root`: in folders, or as lists, a table or COCO files name them; docs/data.md shows all.

    Without more words: `root`/{train,val,test}/{images,masks}, or `root`/{images,masks} with a `split`. A mask belongs
    to the image whose name it has, apart from the ending and the two suffixes. Each argument is a key of
    conf/data/folder.yaml, which says what it means. Raises LabError naming the file or key that is wrong.
    """

    def __init__(
        self,
        root: str,
        size: Sequence[int] = (128, 128),
        classes: int | None = None,
        class_names: Sequence[str] | None = None,
        ignore_index: int | None = None,
        mask_values: Mapping[int, int] | None = None,
        mask_colors: Any = None,
        mask_nearest: bool = False,
        images: str = "images",
        masks: str = "masks",
        image_suffix: str = "",
        mask_suffix: str = "",
        folders: Mapping[str, str] | None = None,
        lists: str | None = None,
        csv: str | None = None,
        coco: str | Mapping[str, str] | None = None,
        split: Mapping[str, float] | None = None,
        seed: int = 0,
        channels: int | Sequence[int] | None = None,
        scale: Any = None,
        pages: str | None = None,
        orientation: str | None = None,
        megapixels: float = MEGAPIXELS,
        axis: Axis = "z",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        cache_mb: float = 1024,
    ) -> None:
        height_width, reading = checked_size(size), Reading(channels, scale, pages, orientation, megapixels, axis)
        places = Places(images, masks, image_suffix, mask_suffix, folders, lists, csv, coco)
        found = find(Path(root), places, split, seed)
        values = None if mask_values is None else values_table(mask_values)
        if found.categories:
            values, class_names = _of_categories(found.categories, values, class_names)
        if classes is None and class_names is not None:
            classes = len(class_names)
            if classes < 2:
                raise LabError(f"data.class_names={list(class_names)}: give two names or more, background included")
        rules = MaskRules(classes, ignore_index, values, colors_table(mask_colors), mask_nearest)
        read = read_splits(found.pairs, height_width, rules, cache_mb, reading, memory_for(Path(root)))
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
            resized=read.resized,
            file_size=read.file_size,
            about=read.about,
            train=read.splits["train"],
            val=read.splits["val"],
            test=read.splits["test"],
        )


def _of_categories(
    categories: Mapping[int, str], values: Mapping[int, int] | None, names: Sequence[str] | None
) -> tuple[dict[int, int], Sequence[str] | None]:
    """Return what drawn categories mean, and the names of classes: background, and the categories in rising order.

    `values` are what the user says instead: the class of each category's number; names are then the user's as well.
    """
    if values is not None:
        return {BACKGROUND: 0, **values}, names
    order = sorted(categories)
    in_order = ["background", *(categories[number] for number in order)]
    return {BACKGROUND: 0, **{number: place for place, number in enumerate(order, 1)}}, names or in_order
