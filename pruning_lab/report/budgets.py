"""Writes the table of budgets and what each cost, from run folders into a Markdown file. Trains nothing.

python -m pruning_lab.report.budgets outputs/a outputs/b --into README.md --marker budgets
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pruning_lab.report.pages import deliver, markdown_table
from pruning_lab.report.runs import read_run, run_row


def table_of(folders: Sequence[Path]) -> str:
    """The runs in some folders, one row each in that order. Raises LabError naming a missing or broken file."""
    return markdown_table([run_row(read_run(folder)) for folder in folders])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the table is written, 1 after a line on stderr that says what to mend."""
    parser = argparse.ArgumentParser(prog="python -m pruning_lab.report.budgets", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER", help="folder of a finished run")
    parser.add_argument("--into", required=True, type=Path, help="the Markdown file with the markers")
    parser.add_argument("--marker", default="budgets", help="name of the markers (default: budgets)")
    options = parser.parse_args(arguments)
    return deliver(lambda: table_of(options.folders), options.into, options.marker)


if __name__ == "__main__":
    sys.exit(main())
