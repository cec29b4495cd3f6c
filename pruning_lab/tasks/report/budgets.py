"""Writes the table of budgets and what each cost, from run folders into a Markdown file. Trains nothing.

python -m pruning_lab.tasks.report.budgets outputs/a outputs/b --into README.md --marker budgets
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pruning_lab.lab.output import units
from pruning_lab.lab.output.run_folder import Run, budget_text, read_run
from pruning_lab.tasks.report.pages import deliver, markdown_table


def table_of(folders: Sequence[Path]) -> str:
    """The runs in some folders, one row each in that order. Raises LabError naming a missing or broken file."""
    return markdown_table([run_row(read_run(folder)) for folder in folders])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the table is written, 1 after a line on stderr that says what to mend."""
    parser = argparse.ArgumentParser(prog="python -m pruning_lab.tasks.report.budgets", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER", help="folder of a finished run")
    parser.add_argument("--into", type=Path, help="a Markdown file with the markers; else the table is printed")
    parser.add_argument("--marker", default="budgets", help="name of the markers (default: budgets)")
    options = parser.parse_args(arguments)
    return deliver(lambda: table_of(options.folders), options.into, options.marker)


def run_row(run: Run) -> dict[str, str]:
    """The run in one row of a comparison of budgets; scores in percent, costs as base -> pruned."""
    base, pruned, last = run.cards.base, run.cards.pruned, run.history[-1]
    cuts = [row["val/iou_before_recovery"] for row in run.history if "val/iou_before_recovery" in row]
    return {
        "budget": budget_text(run) + ("" if run.cards.budget_met else " (not met)"),
        "base IoU": _score(run.history[0].get("val/iou")),
        "after cut": _score(cuts[-1] if cuts else None),
        "after recovery": _score(last.get("val/iou")),
        "test IoU": _score(last.get("test/iou")),
        "latency ms": f"{base.latency_ms:.1f} -> {pruned.latency_ms:.1f}",
        "MACs": f"{units.count(base.macs)} -> {units.count(pruned.macs)}",
        "weights": f"{units.count(base.weights)} -> {units.count(pruned.weights)}",
    }


def _score(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
