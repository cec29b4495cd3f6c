"""What the numbers and colors in mask files mean. Knows files and rules, not the images that masks belong to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning_lab.common.errors import LabError
from pruning_lab.data.contract import Mask
from pruning_lab.data.formats import page_of, values_of
from pruning_lab.data.formats.contract import Axis

LARGEST_CLASS = 255
MANY_VALUES = 64
"""More different values in one mask are hardly classes."""
Color = tuple[int, int, int]


@dataclass(frozen=True)
class MaskRules:
    """What the values in mask files mean.

    `classes` None means: count them. `mask_values` maps values in the files to classes or to `ignore_index`,
    `mask_colors` maps colors; with `nearest`, what they don't list counts as the nearest that they do.
    """

    classes: int | None = None
    ignore_index: int | None = None
    mask_values: Mapping[int, int] | None = None
    mask_colors: Mapping[Color, int] | None = None
    nearest: bool = False

    def __post_init__(self) -> None:
        if self.classes is not None and not 2 <= self.classes <= LARGEST_CLASS + 1:
            raise LabError(
                f"data.classes is {self.classes}: give 2 to {LARGEST_CLASS + 1}, background included, or null"
            )
        numbers = [
            *(self.mask_values or {}).values(),
            *(self.mask_colors or {}).values(),
            *([] if self.ignore_index is None else [self.ignore_index]),
        ]
        wrong = [number for number in numbers if not 0 <= number <= LARGEST_CLASS]
        if wrong:
            raise LabError(f"data.mask_values or data.ignore_index holds {wrong[0]}: use 0 to {LARGEST_CLASS}")
        if self.mask_values is not None and self.mask_colors is not None:
            raise LabError(
                "data.mask_values and data.mask_colors are both set: masks hold values or colors, leave one out"
            )
        if self.nearest and not (self.mask_values or self.mask_colors):
            raise LabError("data.mask_nearest needs data.mask_values or data.mask_colors: say what is near to what")

    def facts(self) -> tuple[Any, ...]:
        """Return what makes other classes of the same files, for the fingerprint."""
        tables = [None if table is None else tuple(table.items()) for table in (self.mask_values, self.mask_colors)]
        return (*tables, self.nearest)

    def mask_of(self, path: Path, page: int = 0, axis: Axis = "z") -> Mask:
        """Return the classes uint8 [H, W] in a mask file. Raises LabError naming the file and what is wrong in it."""
        if self.mask_colors is not None:
            return classes_of_colors(read_colors(path, page, axis), self.mask_colors, path, self.nearest)
        return translate(read_mask(path, page, axis), self.mask_values, path, self.nearest)


def colors_table(colors: Any) -> dict[Color, int] | None:
    """Return color -> class of `data.mask_colors`: a list of [r, g, b] in the order of the classes, or a mapping.

    A mapping has hexadecimal colors as keys, e.g. {"#000000": 0, "#ff8000": 1}. Raises LabError for anything else.
    """
    if colors is None:
        return None
    ask = "give [[r, g, b], ...] in the order of the classes, or {'#000000': 0, '#ff8000': 1}"
    try:
        if isinstance(colors, Mapping):
            table = {_from_hexadecimal(str(color)): int(number) for color, number in colors.items()}
        else:
            table = {_three_bytes(color): number for number, color in enumerate(colors)}
    except (TypeError, ValueError):
        raise LabError(f"data.mask_colors is {colors}: {ask}") from None
    if len(table) != len(colors) or not table:
        raise LabError(f"data.mask_colors names no color, or one twice: {ask}")
    return table


def read_mask(path: Path, page: int = 0, axis: Axis = "z") -> NDArray[np.int64]:
    """Return int64 [H, W] as stored: grey values, or the indices (not the colors) of a palette.

    A color picture is taken as grey if its channels agree; otherwise LabError asks for class indices or colors.
    """
    values = values_of(path, page, axis)
    if values.size == 0:
        raise LabError(f"{path} has no pixels: restore the file, or take it out together with its image")
    if values.ndim == 3:
        colors = values[..., : 1 if values.shape[2] == 2 else 3]
        if not (colors == colors[..., :1]).all():
            raise LabError(
                f"{path} is a color picture: save masks with one channel that holds the class of each pixel, or "
                f"{_colors_to_set(colors, path)}"
            )
        values = colors[..., 0]
    if not np.issubdtype(values.dtype, np.integer) and values.dtype != np.bool_:
        raise LabError(f"{path} holds {values.dtype} numbers: save masks as whole numbers, the class of each pixel")
    return values.astype(np.int64)


def read_colors(path: Path, page: int = 0, axis: Axis = "z") -> NDArray[np.uint8]:
    """Return the colors uint8 [H, W, 3] of a mask; opacity is left out, and a palette is looked up."""
    pixels = page_of(path, page, axis)
    if pixels.dtype != np.uint8:
        raise LabError(f"{path} holds {pixels.dtype} numbers: data.mask_colors needs colors of 8 bits")
    return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]


def translate(
    values: NDArray[np.integer], mask_values: Mapping[int, int] | None, path: Path, nearest: bool = False
) -> Mask:
    """Return uint8 [H, W]: `values` looked up in `mask_values`, or as they are if that is None."""
    present = present_values(values)
    if mask_values is None:
        if present[0] < 0 or present[-1] > LARGEST_CLASS:
            raise LabError(
                f"{path} holds values from {present[0]} to {present[-1]}: classes are 0 to {LARGEST_CLASS}; set "
                "data.mask_values, and for numbered objects data.mask_values={0:0,1:1} data.mask_nearest=true"
            )
        return values.astype(np.uint8)
    table = dict(mask_values)
    for value in present:
        if value not in table:
            if not nearest:
                lossy = _lossy(path)
                raise LabError(
                    f"{path} holds the value {value}, which data.mask_values does not list: add it there{lossy}"
                )
            table[value] = mask_values[_nearest(value, mask_values)]
    known = np.array(present)
    classes = np.array([table[value] for value in present], np.uint8)
    return classes[np.searchsorted(known, values)]


def classes_of_colors(pixels: NDArray[np.uint8], table: Mapping[Color, int], path: Path, nearest: bool = False) -> Mask:
    """Return uint8 [H, W]: the colors uint8 [H, W, 3] looked up in `table`."""
    codes = _codes(pixels)
    present, places = np.unique(codes, return_inverse=True)
    listed = np.array([_codes(np.array(color, np.uint8)) for color in table])
    classes = np.array(list(table.values()), np.uint8)
    distances = _squared_distances(present, listed)
    best = distances.argmin(axis=1)
    far = distances[np.arange(len(present)), best] > 0
    if far.any() and not nearest:
        red, green, blue = _color(int(present[far][0]))
        raise LabError(
            f"{path} holds the color [{red}, {green}, {blue}], which data.mask_colors does not list: add it there"
            f"{_lossy(path)}"
        )
    return classes[best][places].reshape(codes.shape)


def present_values(mask: NDArray[np.integer]) -> list[int]:
    """Return the values in `mask` in rising order, quickly if they all are below 2**16."""
    if mask.size and mask.min() >= 0 and mask.max() < 2**16:
        found: list[int] = np.flatnonzero(np.bincount(mask.ravel())).tolist()
        return found
    values: list[int] = np.unique(mask).tolist()
    return values


def _nearest(value: int, known: Iterable[int]) -> int:
    """Return which of `known` is the nearest to `value`, the smaller one of two."""
    return min(known, key=lambda other: (abs(other - value), other))


def _codes(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """One number for each color [..., 3]."""
    wide = pixels.astype(np.int64)
    return wide[..., 0] * 65536 + wide[..., 1] * 256 + wide[..., 2]


def _color(code: int) -> Color:
    return code // 65536, code // 256 % 256, code % 256


def _squared_distances(codes: NDArray[np.int64], listed: NDArray[np.int64]) -> NDArray[np.int64]:
    """[codes, listed]: how far apart colors are in red, green and blue."""
    distances = np.zeros((len(codes), len(listed)), np.int64)
    for step in (65536, 256, 1):
        distances += ((codes // step % 256)[:, None] - (listed // step % 256)[None]) ** 2
    return distances


def _colors_to_set(colors: NDArray[Any], path: Path) -> str:
    """Say how `data.mask_colors` would have to be set for a mask [H, W, 3]."""
    if colors.dtype != np.uint8 or colors.shape[2] != 3:
        return "set data.mask_colors for colors of 8 bits"
    codes, counts = np.unique(_codes(colors), return_counts=True)
    if len(codes) > MANY_VALUES or _lossy(path):
        return f"set data.mask_colors and data.mask_nearest=true: it has {len(codes)} colors, as a JPEG has"
    shown = [list(_color(int(code))) for code in codes[np.argsort(-counts, kind="stable")][:12]]
    return f"set data.mask_colors={shown}".replace(" [", "[").replace(", ", ",") + " in the order of the classes"


def _lossy(path: Path) -> str:
    if path.suffix.lower() not in (".jpg", ".jpeg", ".webp"):
        return ""
    return f", or set data.mask_nearest=true: {path.suffix[1:].upper()} changes values"


def _from_hexadecimal(color: str) -> Color:
    digits = color.removeprefix("#")
    if len(digits) != 6:
        raise ValueError(color)
    return _color(int(digits, 16))


def _three_bytes(color: Sequence[Any]) -> Color:
    red, green, blue = (int(part) for part in color)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(color)
    return red, green, blue


def values_table(mask_values: Mapping[Any, Any]) -> dict[int, int]:
    """Value in the files -> class, as whole numbers. Raises LabError for anything else."""
    try:
        return {int(value): int(number) for value, number in mask_values.items()}
    except (TypeError, ValueError):
        raise LabError(f"data.mask_values={dict(mask_values)}: give whole numbers, e.g. {{0: 0, 255: 1}}") from None
