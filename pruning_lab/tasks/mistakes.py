"""What is said of an error that was not foreseen: whose code it was, where, and where the traceback is. Knows no task.

A user's own model, importance, data set, stop rule, loss or connections can raise anything. The line names the file and
the line of it; the traceback goes into the run's folder, and never to the console.
"""

from __future__ import annotations

import functools
import sysconfig
import traceback
from pathlib import Path

from pruning_lab.common.errors import first_line

TRACEBACK = "traceback.txt"

_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def told(error: BaseException, folder: Path) -> str:
    """One line for an unforeseen error; its traceback is written into a folder."""
    place = kept(error, folder)
    what = f"{type(error).__name__}: {first_line(error)}"
    frame = own_frame(error)
    if frame is not None:
        name = f" in {frame.name}" if frame.name != "<module>" else ""
        return f"your code, {frame.filename}, line {frame.lineno}{name}: {what}; mend it there{place}"
    return f"{what}; this is a fault of pruning_lab or of a library under it, please report it{place}"


def own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost frame that is neither the project's nor an installed library's; None if there is none."""
    chain: BaseException | None = error
    while chain is not None:
        for frame in reversed(traceback.extract_tb(chain.__traceback__)):
            if _is_own(Path(frame.filename)):
                return frame
        chain = chain.__cause__ or chain.__context__
    return None


def kept(error: BaseException, folder: Path) -> str:
    """Write the traceback; what to add to the line: where it is, or nothing if it could not be written."""
    path = folder / TRACEBACK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return ""
    return f" (traceback: {path})"


def _is_own(path: Path) -> bool:
    if not path.is_absolute() or not path.is_file():  # frozen modules, generated code
        return False
    return not any(path.is_relative_to(folder) for folder in (_PACKAGE, *_LIBRARIES)) and not _is_installed(path)


@functools.cache
def _is_installed(path: Path) -> bool:
    """Whether a file lies beside the records of installed packages, wherever that folder is."""
    return any(next(folder.glob("*.dist-info"), None) is not None for folder in path.parents)
