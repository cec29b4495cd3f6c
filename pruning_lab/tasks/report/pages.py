"""Tables in Markdown pages: how rows are written, and how a command line brings them to a page. Knows no run."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """The rows as a Markdown table, first column to the left and numbers to the right."""
    names = list(rows[0])
    lines = [names, [":--", *["--:"] * (len(names) - 1)], *[list(row.values()) for row in rows]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def replace_between(text: str, marker: str, content: str, place: str) -> str:
    """`text` with `content` between `<!-- marker:start -->` and `<!-- marker:end -->`.

    A marker is a line of its own; one that a sentence mentions is none.

    Raises LabError naming `place` unless each of the two stands there once, in this order.
    """
    start, end = f"<!-- {marker}:start -->", f"<!-- {marker}:end -->"
    lines = text.split("\n")
    if lines.count(start) != 1 or lines.count(end) != 1 or lines.index(start) > lines.index(end):
        raise LabError(f"{place}: write a line {start} and, below it, a line {end} where the table is to stand, once")
    return "\n".join([*lines[: lines.index(start) + 1], content, *lines[lines.index(end) :]])


def put_between(into: Path, marker: str, content: str) -> None:
    """Replace what stands between the markers of a page. Raises LabError if the page or a marker is missing."""
    try:
        text = into.read_text(encoding="utf-8")
    except OSError as error:
        raise LabError(f"{into}: can't be read ({error.strerror}); give --into a Markdown file") from error
    write_atomically(into, replace_between(text, marker, content, str(into)))


def deliver(make: Callable[[], str], into: Path | None, marker: str) -> int:
    """Print a text, or put it between the markers of a page: the end of a command line.

    Returns:
        0 when it is done, 1 after a line on stderr that says what to mend.
    """
    try:
        text = make()
        if into is None:
            print(text)
        else:
            put_between(into, marker, text)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
