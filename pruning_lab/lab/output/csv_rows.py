"""Tables of a run's folder, read row by row. Knows no column."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pruning_lab.common.errors import LabError

T = TypeVar("T")


def read_rows(path: Path, parse: Callable[[Mapping[str, str]], T], what: str) -> list[T]:
    """A table, each row as `parse` makes of its cells by column.

    Args:
        what: the rows are, for the line that is said of a damaged file.

    Raises:
        LabError: a row can't be parsed, or the file can't be read.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            return [parse(cells) for cells in csv.DictReader(stream)]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise LabError(f"{path}: not {what} ({error}); delete the file") from error
    except OSError as error:
        raise LabError(f"{path}: can't be read ({error.strerror}); let it be read, or delete it") from error
