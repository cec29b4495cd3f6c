"""The study of healing: runs the cells that are missing, one job a core, and writes its tables.

    python -m tests.benchmarks.study --list
    python -m tests.benchmarks.study --nuclei PATH --hours 3
    python -m tests.benchmarks.study --only-tables --into docs/study.md --short-into README.md

A cell that has finished is not run again, so that a study that was cut short goes on where it stopped: what is written
into pages is added to the folder `healing` beside this file as well, with the bases. All of it is meant to take three
hours of two quiet cores, with `--jobs 2`, the default.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.run_folder import read_run
from pruning_lab.tasks.report.pages import deliver
from tests.benchmarks.cells import add_options, is_done, run_cells, starter
from tests.benchmarks.study_cells import DATA, Cell, all_cells
from tests.benchmarks.study_record import BASES, RECORD, done_in, joined, read_record, share_bases, write_record
from tests.benchmarks.study_tables import Result, short_of, text_of

ROOT = Path("outputs/study")
MARKER, SHORT = "healing", "healing_short"
SHORT_BUDGET = 0.1


def missing(cells: Sequence[Cell], root: Path, recorded: Sequence[Result] = ()) -> list[Cell]:
    """Those that are not done; one that takes another's widths comes after it, and needs its folder."""
    left = [cell for cell in cells if not is_done(cell, root) and not done_in(recorded, cell)]
    needed = [source for cell in left if (source := cell.needs()) is not None and not is_done(source, root)]
    left += [source for source in dict.fromkeys(needed) if source not in left]
    return sorted(left, key=lambda cell: cell.needs() is not None)


def results_of(cells: Sequence[Cell], root: Path) -> list[Result]:
    """A result for each run that has finished.

    Raises:
        LabError: a card is broken.
    """
    found = []
    for cell in cells:
        for budget, folder in cell.runs(root).items():
            if (folder / "card.json").is_file():
                cards = read_run(folder).cards
                scores = cards.pruned.test_iou, cards.base.test_iou
                found.append(Result(cell, budget, *scores, cards.base_hash, cards.commit[:7]))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, ROOT, list(DATA), jobs=2, hours=3.0)
    parser.add_argument("--list", action="store_true", help="tell the cells that are missing, and run none")
    parser.add_argument("--only-tables", action="store_true", help="run none, write the tables of what there is")
    parser.add_argument("--record", type=Path, default=RECORD, help="folder of all runs and bases, read and added to")
    parser.add_argument("--into", type=Path, help=f"page with the markers of {MARKER}; else the tables are printed")
    parser.add_argument("--short-into", type=Path, help=f"page with the markers of {SHORT}, for the short table")
    given = parser.parse_args(arguments)
    root = given.root.absolute()
    cells = all_cells(given.data, given.seeds)
    measured = joined(read_record(given.record), results_of(cells, root), cells)
    left = missing(cells, root, measured)
    if given.list:
        hours = sum(cell.minutes for cell in left) / 60 / given.jobs
        print("\n".join(cell.name for cell in left))
        print(f"{len(left)} of {len(cells)} cells are missing, about {hours:.1f} hours of {given.jobs} quiet cores")
        return 0
    if "nuclei" in given.data and not given.nuclei and not given.only_tables:
        print("the nuclei have no folder; give --nuclei PATH, or --data eyes fields", file=sys.stderr)
        return 1
    share_bases(given.record / BASES, root / BASES, {one.base for one in measured})
    failed = [] if given.only_tables else run_cells(left, root, starter(root, given.nuclei), given.jobs, given.hours)

    def found() -> list[Result]:
        results = joined(measured, results_of(cells, root), cells)
        if not results:
            raise LabError(f"{root}: no cell of the study has finished; run it without --only-tables")
        if given.into is not None:
            write_record(results, given.record)
            share_bases(root / BASES, given.record / BASES, {one.base for one in results})
        return results

    code = deliver(lambda: text_of(found()), given.into, MARKER)
    if not code and given.short_into is not None:
        code = deliver(lambda: short_of(found(), SHORT_BUDGET), given.short_into, SHORT)
    return code or int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
