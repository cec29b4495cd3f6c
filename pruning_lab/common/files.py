"""Writing files so that a reader never meets half of one, and a full disk is told. Knows not what is in them."""

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says where a file can't grow: the disk is full, a quota is used up, or the file would be too large."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a text (UTF-8) or bytes to `path`: a reader sees the old content or the new one, never a part.

    The folder is created if it is missing. Raises OSError, which names `path`; the old file is then untouched.
    """
    with replacing(path) as draft, open(draft, "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; what is there when the block ends takes the place of `path`, whole.

    The folder is created if it is missing. Raises OSError, which names `path`; the old file is then untouched.
    """
    path = Path(path)
    # In the same folder, because os.replace is atomic only within one file system.
    draft = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        with named(path, draft):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            with open(draft, "rb+") as stream:
                os.fsync(stream.fileno())
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def named(path: Path, draft: Path | None = None) -> Iterator[None]:
    """Let an OSError of the block tell which file it is about: what fails while it writes names none.

    Args:
        draft: a name that `path` has meanwhile.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename is not None and str(error.filename) != str(draft)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    except Exception as error:
        # Libraries that are not written in Python have errors of their own, with the system's number in the text.
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full."""
    return isinstance(error, OSError) and error.errno in FULL


def disk_trouble(error: OSError, place: Path | str = "the file system") -> str:
    """One line for what the file system refused: where, what, and the mend.

    Args:
        place: what to name where the error names no file.
    """
    where = error.filename or place
    if is_full(error):
        folder = Path(os.fsdecode(where)).parent if error.filename else place
        return f"{where}: {error.strerror}; make room in {folder}"
    return f"{where}: {error.strerror or error}; give folders that exist and can be written"
