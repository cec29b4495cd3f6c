"""Puts the tables of finished reports into a Markdown file, from their CSVs. Reads no run and computes no score.

python -m pruning_lab.tasks.report.study outputs/runs/report/<report> --into docs/study.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pruning_lab.common.files import write_atomically
from pruning_lab.tasks.report.agreement import AGREEMENT_FILE, Agreement
from pruning_lab.tasks.report.pages import deliver
from pruning_lab.tasks.report.study_rows import RUNS_FILE, StudyRow, read_records, write_records
from pruning_lab.tasks.report.study_summary import SPLITS, Comparison, compare, write_summary
from pruning_lab.tasks.report.study_tables import Agreements, by_method, markdown

PAGE = "report.md"


@dataclass(frozen=True)
class Study:
    """Everything that a report is made of.

    Attributes:
        left_out: why runs are not in it, by their folder.
        figures: path relative to the report's folder -> what it shows.
    """

    rows: Sequence[StudyRow]
    agreements: Sequence[Agreement]
    split: str
    left_out: Mapping[str, str]
    figures: Mapping[str, str]

    def comparisons(self) -> list[Comparison]:
        """One for each base."""
        return compare(self.rows, self.split)

    def by_method(self) -> Agreements:
        """The agreements where tables look for them."""
        return by_method(self.agreements)


def write_study(folder: Path, study: Study) -> None:
    """Write report.md, report.csv, summary.csv and, if there are agreements, correlation.csv."""
    folder, comparisons = Path(folder), study.comparisons()
    write_records(folder / RUNS_FILE, StudyRow, study.rows)
    write_summary(folder, comparisons)
    if study.agreements:
        write_records(folder / AGREEMENT_FILE, Agreement, study.agreements)
    parts = ["# Comparison", markdown(comparisons, study.by_method(), study.split)]
    parts += [f"![{text}]({path})" for path, text in study.figures.items()]
    if study.left_out:
        parts += ["## Left out", "\n".join(f"- {why}" for why in study.left_out.values())]
    write_atomically(folder / PAGE, "\n\n".join(parts) + "\n")


def read_reports(folders: Sequence[Path], split: str) -> str:
    """The tables of some reports, one after the other. Raises LabError where a folder holds no report."""
    rows = [row for folder in folders for row in read_records(Path(folder) / RUNS_FILE, StudyRow)]
    agreements = [
        item
        for folder in folders
        if (Path(folder) / AGREEMENT_FILE).is_file()
        for item in read_records(Path(folder) / AGREEMENT_FILE, Agreement)
    ]
    return markdown(compare(rows, split), by_method(agreements), split)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the tables are written, 1 after a line on stderr that says what to mend."""
    parser = argparse.ArgumentParser(prog="python -m pruning_lab.tasks.report.study", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="REPORT_FOLDER", help="folder of a report")
    parser.add_argument("--into", type=Path, help="the Markdown file with the markers; without it, print")
    parser.add_argument("--marker", default="study", help="name of the markers (default: study)")
    parser.add_argument("--split", default="test", choices=SPLITS, help="whose IoU (default: test)")
    options = parser.parse_args(arguments)
    return deliver(lambda: read_reports(options.folders, options.split), options.into, options.marker)


if __name__ == "__main__":
    sys.exit(main())
