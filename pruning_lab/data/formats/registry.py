"""Which format reads which ending, and what is said when it can't. Knows nothing of pairs, splits and options."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pruning_lab.common.errors import LabError
from pruning_lab.data.formats.arrays import Arrays
from pruning_lab.data.formats.contract import Axis, Header, Reader, Stored
from pruning_lab.data.formats.pictures import Pictures
from pruning_lab.data.formats.tiffs import Tiffs
from pruning_lab.data.formats.volumes import Dicom, Nifti

READERS: dict[str, Reader] = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"), Pictures()),
    **dict.fromkeys((".tif", ".tiff"), Tiffs()),
    ".npy": Arrays(),
    **dict.fromkeys((".nii", ".nii.gz"), Nifti()),
    ".dcm": Dicom(),
}
IMAGE_SUFFIXES = frozenset(READERS)

T = TypeVar("T")


def suffix_of(path: Path) -> str:
    """Return the ending that decides the format, in lower case: `.nii.gz` is one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """Return the name of a file without that ending."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def header_of(path: Path, axis: Axis = "z") -> Header:
    """Return what an image file says of itself. Raises LabError naming it if it can't be read.

    Args:
        axis: of a volume, the one along which its slices are taken.
    """
    return _read(path, lambda reader: reader.header(path), axis)


def page_of(path: Path, number: int = 0, axis: Axis = "z") -> Stored:
    """Return page `number` of an image file [H, W, C]. Raises LabError naming it if it can't be read."""
    return _read(path, lambda reader: reader.page(path, number), axis)


def values_of(path: Path, number: int = 0, axis: Axis = "z") -> Stored:
    """Return page `number` of a mask file [H, W] or [H, W, C]. Raises LabError naming it if it can't be read."""
    return _read(path, lambda reader: reader.values(path, number), axis)


def unreadable(path: Path, problem: Exception) -> str:
    """Return the line that says that `path` can't be read, and what to do."""
    reason = "it does not exist" if isinstance(problem, FileNotFoundError) else "it is damaged or no image"
    if isinstance(problem, PermissionError):
        reason = "it may not be read by you"
    return f"can't read {path}: {reason}; restore the file, or take it out together with its partner"


def _read(path: Path, how: Callable[[Reader], T], axis: Axis) -> T:
    reader = READERS.get(suffix_of(path))
    if isinstance(reader, Nifti):
        reader = Nifti(axis)
    if reader is None:
        kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise LabError(f"{path} is of no known format: convert it to one of {kinds}")
    try:
        return how(reader)
    except (LabError, MemoryError):
        raise
    except Exception as problem:
        # Decoders raise errors of many kinds for a garbled file, some of them of classes of their own.
        raise LabError(unreadable(path, problem)) from problem
