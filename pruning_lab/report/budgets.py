"""Writes the table of budgets and what each cost, from run folders into a Markdown file. Trains nothing.

python -m pruning_lab.report.budgets outputs/a outputs/b --into README.md --marker budgets
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pruning_lab.errors import LabError
from pruning_lab.files import write_atomically
from pruning_lab.report.runs import read_run, run_row


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """The rows as a Markdown table, first column to the left and numbers to the right."""
    names = list(rows[0])
    lines = [names, [":--", *["--:"] * (len(names) - 1)], *[list(row.values()) for row in rows]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def replace_between(text: str, marker: str, content: str, place: str) -> str:
    """`text` with `content` between `<!-- marker:start -->` and `<!-- marker:end -->`.

    Raises LabError naming `place` unless each of the two stands there once, in this order.
    """
    start, end = f"<!-- {marker}:start -->", f"<!-- {marker}:end -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise LabError(f"{place}: write a line {start} and, below it, a line {end} where the table is to stand")
    head, rest = text.split(start)
    tail = rest.split(end)[1]
    return f"{head}{start}\n{content}\n{end}{tail}"


def write_table(folders: Sequence[Path], into: Path, marker: str) -> None:
    """Put the table of the runs in `folders`, one row each in that order, between the markers of `into`."""
    put_between(into, marker, markdown_table([run_row(read_run(folder)) for folder in folders]))


def put_between(into: Path, marker: str, content: str) -> None:
    """Replace what stands between the markers of a page. Raises LabError if the page or a marker is missing."""
    try:
        text = into.read_text(encoding="utf-8")
    except OSError as error:
        raise LabError(f"{into}: can't be read ({error.strerror}); give --into a Markdown file") from error
    write_atomically(into, replace_between(text, marker, content, str(into)))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the table is written, 1 after a line on stderr that says what to mend."""
    parser = argparse.ArgumentParser(prog="python -m pruning_lab.report.budgets", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER", help="folder of a finished run")
    parser.add_argument("--into", required=True, type=Path, help="the Markdown file with the markers")
    parser.add_argument("--marker", default="budgets", help="name of the markers (default: budgets)")
    options = parser.parse_args(arguments)
    try:
        write_table(options.folders, options.into, options.marker)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
