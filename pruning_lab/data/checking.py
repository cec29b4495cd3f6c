"""Reads every file of a data set once, at the start, so that no run stops hours later over a bad one.

Knows pairs of files and what masks may hold; knows nothing of where a layout keeps them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.data.cache import Cached, MemoryBudget
from pruning_lab.data.files import FilePair, FileSplit, digests_of, identity
from pruning_lab.data.masks import LARGEST_CLASS, MANY_VALUES, MaskRules
from pruning_lab.data.reading import Reading
from pruning_lab.data.scaling import Scale
from pruning_lab.data.survey import Survey, survey

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadSplits:
    """The splits by name, as much of them in memory as fits, and what was learnt from reading all of them."""

    splits: dict[str, Cached]
    classes: int
    channels: int
    scale: Scale | None
    resized: bool
    file_size: tuple[int, int] | None
    identity: str
    about: str


def read_splits(
    pairs: Mapping[str, Sequence[FilePair]],
    size: tuple[int, int],
    rules: MaskRules,
    cache_mb: float,
    reading: Reading | None = None,
    memory: Path | None = None,
) -> ReadSplits:
    """Return the splits after reading every image and mask once; what looks like a mistake is warned of.

    `memory` is the file that remembers digests of files. Raises LabError naming the first file that can't be read, does
    not fit its partner, or holds a wrong value.
    """
    for name, some in pairs.items():
        if not some:
            raise LabError(f"the {name} split is empty: put at least one image with its mask into it")
    found = survey(pairs, reading or Reading())
    budget = MemoryBudget(cache_mb)
    sources, splits = {}, {}
    for name, some in found.pairs.items():
        headers = [found.headers[pair.image] for pair in some]
        sources[name] = FileSplit(some, headers, size, found.how, rules)
        splits[name] = Cached(sources[name], budget)
        for _ in splits[name].read_all():
            pass
    classes = _count_classes(sources, rules)
    digests = digests_of(found.pairs, memory)
    _warn_of_copies(found.pairs, digests)
    _warn_of_missing_classes(sources, classes, rules)
    _warn_of_orientation(sources, found)
    facts = (tuple(size), rules.facts(), found.how.reading.facts(), identity(found.pairs, digests))
    sizes = {(header.height, header.width) for header in found.headers.values()}
    return ReadSplits(
        splits=splits,
        classes=classes,
        channels=found.how.channels.count,
        scale=found.how.scale,
        resized=sizes != {tuple(size)},
        file_size=next(iter(sizes)) if len(sizes) == 1 else None,
        identity=repr(facts),
        about=found.in_words(sources),
    )


def _count_classes(sources: Mapping[str, FileSplit], rules: MaskRules) -> int:
    files_with: dict[int, FilePair] = {}
    for source in sources.values():
        for index, values in sorted(source.values_found.items()):
            if len(values) > MANY_VALUES:
                log.warning(
                    "%s holds %s different values, as a JPEG of a mask does: set data.mask_values and "
                    "data.mask_nearest=true if they are not classes",
                    source.pairs[index].mask,
                    len(values),
                )
            for value in values:
                files_with.setdefault(value, source.pairs[index])
    files_with.pop(-1 if rules.ignore_index is None else rules.ignore_index, None)
    return count_classes(files_with, rules)


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
    if len(values) > MANY_VALUES:
        return "set data.mask_values={0:0,255:1} data.mask_nearest=true, with a value for each class"
    if len(values) > 12:
        return "set data.mask_values to say which class each value means, or data.classes if they are meant so"
    by_mapping = f"set data.mask_values={{{mapping}}} to say which class each value means"
    if list(rest) == [LARGEST_CLASS] and len(in_order) > 1:
        return f"set data.ignore_index={LARGEST_CLASS} if it marks pixels that don't count, or {by_mapping}"
    return f"{by_mapping}, or correct data.classes"


def _listed(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return shown if len(values) <= 8 else f"{shown}, ... {values[-1]}"


def _warn_of_copies(pairs: Mapping[str, Sequence[FilePair]], digests: Mapping[Path, str]) -> None:
    """Warn where an image of one split is an image of another as well: scores on it would say nothing."""
    contents = {name: {(digests[pair.image], pair.page): pair for pair in some} for name, some in pairs.items()}
    for one, other in (("val", "train"), ("test", "train"), ("test", "val")):
        shared = contents[one].keys() & contents[other].keys()
        if shared:
            example = contents[one][min(shared)].label
            log.warning(
                "%s of %s images of %s are images of %s as well, e.g. %s: scores on them are too good, take them out",
                len(shared),
                len(pairs[one]),
                one,
                other,
                example,
            )


def _warn_of_missing_classes(sources: Mapping[str, FileSplit], classes: int, rules: MaskRules) -> None:
    """Warn where a class occurs in no mask of a split, or where nothing of a split counts."""
    for name, source in sources.items():
        present = {value for values in source.values_found.values() for value in values} - {rules.ignore_index}
        if not present:
            log.warning("all pixels of %s are data.ignore_index: no score can be computed on it", name)
            continue
        absent = [number for number in range(classes) if number not in present]
        if absent:
            log.warning("no mask of %s holds the class %s: its score there says nothing", name, _listed(absent))


def _warn_of_orientation(sources: Mapping[str, FileSplit], found: Survey) -> None:
    """Say what was done with images that carry an EXIF note of rotation, unless the user decided it."""
    if found.how.reading.orientation is not None:
        return
    noted = turned = 0
    example = ""
    for source in sources.values():
        with_note = [index for index, header in enumerate(source.headers) if header.turned != 1]
        noted += len(with_note)
        turned += len(source.turned_found)
        if with_note and not example:
            example = source.label(with_note[0])
    if noted:
        log.warning(
            "%s images carry an EXIF note of rotation, e.g. %s: %s were turned to fit their masks, the others are read "
            "as stored; data.orientation=upright turns all, data.orientation=stored none",
            noted,
            example,
            turned,
        )
