"""Looks at all images of a data set before any is used, and settles how they are read. Knows no masks' meaning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.data.cache import in_threads
from pruning_lab.data.files import FilePair, FileSplit, HowRead
from pruning_lab.data.formats import Header, header_of
from pruning_lab.data.reading import Reading, channels_for
from pruning_lab.data.scaling import kind_in_words

MAY_HAVE_PAGES = (".tif", ".tiff", ".gif", ".nii", ".gz", ".dcm")


@dataclass(frozen=True)
class Survey:
    """The pairs of each split, one for each image in their files, the header of every image file, and how all are read.

    `why` says where the scale comes from.
    """

    pairs: dict[str, list[FilePair]]
    headers: dict[Path, Header]
    how: HowRead
    why: str

    def in_words(self, splits: Mapping[str, FileSplit]) -> str:
        """Say in one line what was read: how many images, of which type, range, channels, and their scale."""
        ranges = list(splits["train"].range_found.values())
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        stored = sorted({header.channels for header in self.headers.values()})
        count = self.how.channels.count
        channels = f"{count} channel{'s' if count > 1 else ''}"
        if stored != [count] and self.how.channels.chosen is None:
            channels += f" (in the files: {' or '.join(map(str, stored))})"
        elif self.how.channels.chosen is not None:
            channels += f" (numbers {', '.join(map(str, self.how.channels.chosen))} of {' or '.join(map(str, stored))})"
        scale = "kept as bytes" if self.how.scale is None else f"{self.how.scale.in_words()}, {self.why}"
        images = sum(len(some) for some in self.pairs.values())
        kinds = kind_in_words(self.headers.values())
        return f"read {images} images: {kinds}, values {low:g} to {high:g} in train, {channels}; {scale}"


def survey(pairs: Mapping[str, Sequence[FilePair]], reading: Reading) -> Survey:
    """Return what all image files hold and how they are read.

    Raises LabError naming a file that can't be read, is too large, has pages that were not spoken of, or other channels
    or another type of numbers than the rest.
    """
    files = sorted({pair.image for some in pairs.values() for pair in some})
    headers = dict(zip(files, in_threads(lambda path: header_of(path, reading.axis), files), strict=True))
    for path, header in headers.items():
        reading.check(path, header)
    expanded = {name: _one_for_each_image(some, headers, reading) for name, some in pairs.items()}
    channels = channels_for(reading.channels, headers, reading.pages)
    how, why = HowRead(reading, channels), "by type"
    rule, kinds = reading.rule(), {header.kind for header in headers.values()}
    if not rule.keeps_bytes(kinds):
        if len(kinds) > 1:
            raise LabError(_mixed(headers))
        train = expanded["train"]
        stored = in_threads(lambda pair: how.stored(pair, headers[pair.image]), train)
        scale, why = rule.scale(next(iter(kinds)), channels.count, stored, len(train))
        how = replace(how, scale=scale)
    return Survey(expanded, headers, how, why)


def _one_for_each_image(pairs: Sequence[FilePair], headers: Mapping[Path, Header], reading: Reading) -> list[FilePair]:
    """Return a pair for each page that is an image of its own, after checking that masks have as many pages."""
    found: list[FilePair] = []
    for pair in pairs:
        images = reading.images_in(headers[pair.image])
        one = reading.pages == "first" or pair.mask.suffix.lower() not in MAY_HAVE_PAGES
        masks = 1 if one else header_of(pair.mask, reading.axis).pages
        if masks != images:
            raise LabError(
                f"{pair.mask} has {masks} pages for {images} images in {pair.image.name}: give it a page for each image"
            )
        if images == 1:
            found.append(pair)
        else:
            found += [replace(pair, label=f"{pair.label}[{page}]", page=page) for page in range(images)]
    return found


def _mixed(headers: Mapping[Path, Header]) -> str:
    by_kind = {str(header.kind): path for path, header in headers.items()}
    (one, first), (other, second), *_ = sorted(by_kind.items())
    return f"{first} holds {one} numbers, but {second} holds {other}: convert some, so that one scale fits all"
