"""The image files that a path, a folder or a pattern means, and how each is read. Knows no network."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning_lab.common.errors import LabError
from pruning_lab.data.formats import IMAGE_SUFFIXES, Header, header_of, stem_of, suffix_of
from pruning_lab.data.formats.contract import Stored
from pruning_lab.data.formats.orientation import turned
from pruning_lab.data.layouts.folders import below
from pruning_lab.data.reading import MEGAPIXELS, Channels, Reading, read_stored

PATTERN = "*?["


@dataclass(frozen=True)
class Found:
    """A page of an image file, and the name of what is made of it: a path without ending, relative to the output."""

    path: Path
    name: str
    page: int = 0


def image_files(images: str) -> list[tuple[Path, str]]:
    """Every image file that `images` means, sorted, with a name of its own.

    Names keep the folders below the one that was given; where two files differ in their ending alone, it stays in them.

    Raises:
        LabError: there is none.
    """
    place = Path(images)
    if place.is_dir():
        root, paths = place, [path for path in below(place) if _is_image(path, place)]
    elif place.is_file():
        root, paths = place.parent, [place]
    else:
        paths = [Path(path) for path in glob.glob(images, recursive=True) if _is_image(Path(path), Path())]
        root = _fixed_part(images)
    if not paths:
        kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise LabError(f"task.images={images} finds no image: give a file, a folder or a pattern of files ({kinds})")
    stems = [path.relative_to(root).with_name(stem_of(path)).as_posix() for path in paths]
    names = [
        stem if stems.count(stem) == 1 else path.relative_to(root).as_posix()
        for path, stem in zip(paths, stems, strict=True)
    ]
    return sorted(zip(paths, names, strict=True))


def _is_image(path: Path, below: Path) -> bool:
    """Whether it is an image file, and neither it nor a folder that it lies in is hidden."""
    shown = path.relative_to(below) if path.is_relative_to(below) else path
    hidden = any(part.startswith(".") and part != ".." for part in shown.parts)
    return suffix_of(path) in IMAGE_SUFFIXES and not hidden and path.is_file()


def _fixed_part(pattern: str) -> Path:
    """The folder that a pattern starts from."""
    fixed = []
    for part in Path(pattern).parts:
        if any(sign in part for sign in PATTERN):
            break
        fixed.append(part)
    return Path(*fixed)


def reading_of(data: Mapping[str, Any]) -> Reading:
    """How the data set of a run's config reads image files; the usual way where the config says nothing of it."""
    return Reading(
        channels=data.get("channels"),
        pages=data.get("pages"),
        orientation=data.get("orientation"),
        megapixels=data.get("megapixels", MEGAPIXELS),
        axis=data.get("axis", "z"),
    )


def pages_of(path: Path, name: str, reading: Reading) -> Iterator[Found]:
    """Every image in a file: pages that are images of their own get numbers. Raises LabError naming a bad file."""
    header = header_of(path, reading.axis)
    reading.check(path, header)
    count = reading.images_in(header)
    for page in range(count):
        yield Found(path, name if count == 1 else f"{name}_{page:04d}", page)


def stored_pixels(found: Found, reading: Reading, channels: int) -> Stored:
    """The image [H, W, channels] as it is stored. Raises LabError naming a file that can't be read or does not fit."""
    header: Header = header_of(found.path, reading.axis)
    chosen = reading.channels
    which = Channels(channels, tuple(chosen) if isinstance(chosen, Sequence) else None)
    pixels = read_stored(found.path, found.page, header, reading, which)
    return turned(pixels, header.turned) if reading.orientation == "upright" else pixels
