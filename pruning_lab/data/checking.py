"""Reads every file of a data set once, at the start, so that no run stops hours later over a bad one.

Knows pairs of files and what masks may hold; knows nothing of where a layout keeps them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pruning_lab.common.errors import LabError
from pruning_lab.data.cache import Cached, MemoryBudget
from pruning_lab.data.files import LARGEST_CLASS, FilePair, FileSplit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskRules:
    """What the values in mask files mean; None for `classes` means: count them."""

    classes: int | None = None
    ignore_index: int | None = None
    mask_values: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and not 2 <= self.classes <= LARGEST_CLASS + 1:
            raise LabError(
                f"data.classes is {self.classes}: give 2 to {LARGEST_CLASS + 1}, background included, or null"
            )
        numbers = [
            *(self.mask_values or {}).values(),
            *([] if self.ignore_index is None else [self.ignore_index]),
        ]
        wrong = [number for number in numbers if not 0 <= number <= LARGEST_CLASS]
        if wrong:
            raise LabError(f"data.mask_values or data.ignore_index holds {wrong[0]}: use 0 to {LARGEST_CLASS}")


def read_splits(
    pairs: Mapping[str, Sequence[FilePair]], size: tuple[int, int], rules: MaskRules, cache_mb: float
) -> tuple[dict[str, Cached], int]:
    """Return the splits by name, as much of them in memory as fits, and the number of classes.

    Raises LabError naming the first file that can't be read, does not fit its partner, or holds a wrong
    value.
    """
    log.info("reading %s images and their masks", sum(len(some) for some in pairs.values()))
    budget = MemoryBudget(cache_mb)
    splits = {}
    files_with: dict[int, FilePair] = {}
    for name, some in pairs.items():
        if not some:
            raise LabError(f"the {name} split is empty: put at least one image with its mask into it")
        source = FileSplit(some, size, rules.mask_values)
        splits[name] = Cached(source, budget)
        for _ in splits[name].read_all():
            pass
        for index, values in source.values_found.items():
            for value in values:
                files_with.setdefault(value, some[index])
    files_with.pop(-1 if rules.ignore_index is None else rules.ignore_index, None)
    return splits, count_classes(files_with, rules)


def count_classes(files_with: Mapping[int, FilePair], rules: MaskRules) -> int:
    """Return the number of classes, given a file for every value that occurs apart from the ignore index.

    Raises LabError if the values aren't 0, 1, 2, ... without a gap, or if they pass the number of classes
    given.
    """
    found = sorted(files_with)
    if rules.classes is not None:
        outside = [value for value in found if value >= rules.classes]
        if outside:
            file = files_with[outside[-1]].mask
            advice = _advice([value for value in found if value not in outside], outside)
            raise LabError(f"{file} holds the value {outside[-1]}, but there are {rules.classes} classes: {advice}")
        return rules.classes
    if len(found) < 2:
        raise LabError(f"all masks hold the same value {found}: there is nothing to tell apart; check the mask files")
    if found != list(range(len(found))):
        in_order = [value for place, value in enumerate(found) if value == place]
        rest = found[len(in_order) :]
        file = files_with[rest[-1]].mask
        raise LabError(f"masks hold the values {_listed(found)} (the last in {file}): {_advice(in_order, rest)}")
    return len(found)


def _advice(in_order: Sequence[int], rest: Sequence[int]) -> str:
    """Say what would make values that are not 0, 1, 2, ... usable."""
    values = [*in_order, *rest]
    mapping = ",".join(f"{value}:{place}" for place, value in enumerate(values))
    if len(values) > 12:
        return "set data.mask_values to say which class each value means, or data.classes if they are meant so"
    by_mapping = f"set data.mask_values={{{mapping}}} to say which class each value means"
    if list(rest) == [LARGEST_CLASS] and len(in_order) > 1:
        return f"set data.ignore_index={LARGEST_CLASS} if it marks pixels that don't count, or {by_mapping}"
    return f"{by_mapping}, or correct data.classes"


def _listed(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return shown if len(values) <= 8 else f"{shown}, ... {values[-1]}"
