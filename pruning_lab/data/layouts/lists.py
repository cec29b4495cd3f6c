"""Splits that text files or a table name, one pair a line. Opens the lists, and no image."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.data.files import FilePair
from pruning_lab.data.formats import stem_of, suffix_of
from pruning_lab.data.formats.registry import IMAGE_SUFFIXES
from pruning_lab.data.layouts.division import ALSO_CALLED, SPLITS, split_called
from pruning_lab.data.layouts.folders import files_by_name

SEPARATORS = ",;\t"


def from_lists(
    folder: Path, root: Path, images: Path, masks: Path, image_suffix: str, mask_suffix: str
) -> dict[str, list[FilePair]]:
    """Return the splits that `folder`/{train,val,test}.txt name, as PASCAL VOC does.

    A line holds the name of an image in `images`, with or without its ending, or the paths of image and mask, relative
    to `root`. Raises LabError for a missing list or file, naming the list and the line.
    """
    lists = {name: path for name in SPLITS if (path := _list_of(folder, name)) is not None}
    if "train" not in lists:
        raise LabError(
            f"data.lists: there is no {folder / 'train.txt'}: add it, with the name of an image in each line, or "
            "correct data.lists, which is relative to data.root"
        )
    by_name: tuple[dict[str, Path], dict[str, Path]] | None = None
    found: dict[str, list[FilePair]] = {}
    for split, path in lists.items():
        found[split] = []
        for number, words in _lines(path):
            if len(words) > 1:
                pair = FilePair(root / words[0], root / words[1], words[0])
                _check_files(pair, f"{path} line {number}")
            else:
                by_name = by_name or (files_by_name(images, image_suffix), files_by_name(masks, mask_suffix))
                pair = _named(words[0], by_name, root, f"{path} line {number}", images, masks)
            found[split].append(pair)
    return found


def from_table(path: Path, root: Path) -> dict[str, list[FilePair]]:
    """Return the splits of a CSV with the columns image and mask, and split where it has one, else all as train.

    Paths are relative to `root`. Raises LabError naming the table and the line that is wrong.
    """
    found: dict[str, list[FilePair]] = {}
    for number, row in _rows(path):
        where = f"{path} line {number}"
        split = "train" if row.get("split") is None else split_called(row["split"])
        if split is None:
            raise LabError(f"{where} has the split {row['split']!r}: use train, val or test")
        pair = FilePair(root / row["image"], root / row["mask"], row["image"])
        _check_files(pair, where)
        found.setdefault(split, []).append(pair)
    if "train" not in found:
        raise LabError(f"{path} names no image of train: add lines whose split is train")
    return found


def _list_of(folder: Path, split: str) -> Path | None:
    paths = [folder / f"{name}.txt" for name in ALSO_CALLED[split]]
    return next((path for path in paths if path.is_file()), None)


def _text_of(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as problem:
        raise LabError(f"{path} is no UTF-8 text: save it as UTF-8") from problem


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(_text_of(path), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def _named(
    word: str, files: tuple[dict[str, Path], dict[str, Path]], root: Path, where: str, images: Path, masks: Path
) -> FilePair:
    plain = Path(word)
    name = plain.with_name(stem_of(plain)).as_posix() if suffix_of(plain) in IMAGE_SUFFIXES else plain.as_posix()
    for kind, known, folder in (("image", files[0], images), ("mask", files[1], masks)):
        if name not in known:
            raise LabError(
                f"{where} names {word}, but there is no {kind} {folder / name}.*: correct it, or add the file"
            )
    image = files[0][name]
    return FilePair(image, files[1][name], image.relative_to(root).as_posix())


def _check_files(pair: FilePair, where: str) -> None:
    for path in pair.files():
        if not path.is_file():
            raise LabError(f"{where} names {path}, which does not exist: correct it; paths are relative to data.root")


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield each line's number and cells, by the names of their columns in lower case."""
    if not path.is_file():
        raise LabError(f"data.csv is {path}, which does not exist: correct it; it is relative to data.root")
    text = _text_of(path)
    head = text[0] if text else ""
    separator = max(SEPARATORS, key=head.count)
    columns = [cell.strip().lower() for cell in next(csv.reader([head], delimiter=separator), [])]
    if not {"image", "mask"} <= set(columns):
        raise LabError(f"{path} has the columns {columns}: its first line must name image and mask, and may name split")
    for number, cells in enumerate(csv.reader(text[1:], delimiter=separator), 2):
        if not cells:
            continue
        row = {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}
        if len(cells) != len(columns) or not row["image"] or not row["mask"]:
            raise LabError(f"{path} line {number} has {len(cells)} of {len(columns)} cells, or empty ones: correct it")
        yield number, row
