"""At equal measured latency: pruning by milliseconds, by FLOPs, and by score with widths at multiples of 8.

    python -m tests.benchmarks.latency_study --nuclei PATH
    python -m tests.benchmarks.latency_study --data eyes --trained

A cell is a data set, a way to choose and a seed: one job that prunes a U-Net down to each budget. A budget is met when
the network, timed in turns with the base on one thread in onnxruntime, is within it. Scores, base, repair, training and
amounts are the same for all: one cut straight to each budget and no training, or steps of a fifth of the time and two
epochs at the end (`--trained`). Cells that are done are not run again, so the study goes on where it was cut short, and
the table is of what there is. What follows `--` goes to every job.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from pruning_lab.lab.output.history import History
from pruning_lab.tasks.report.pages import deliver, markdown_table
from tests.benchmarks.cells import add_options, is_done, run_cells, starter
from tests.benchmarks.study_tables import Scores, mean_of, paired

ROOT = Path("outputs/latency_study")
MARKER, TRAINED_MARKER = "latency_study", "latency_study_trained"
"""Of the tables on a page."""

TRAINED = ("selection.amount.share=0.2", "recovery.final_epochs=2")
"""Steps of a fifth of the time that is left, and training at the end."""
DATA = {"eyes": "latency_study", "nuclei": "latency_study_nuclei"}
"""Data set -> the experiment of its cells."""
BUDGETS = (0.5, 0.25)
OURS = "by milliseconds"
SCORES = (
    "importance.by=none",
    "importance.method.relative_to=none",
    "importance.method.weigh=gradient",
    "selection.share_of_layer=false",
)
"""Half of such a score is what the loss gains to second order: scores of different layers compare as they are."""
METHODS = {
    OURS: (*SCORES, "selection.prefer.flops=0", "selection.prefer.latency=1"),
    "by FLOPs": (*SCORES, "selection.per_saving=true"),
    "by score, multiples of 8": (*SCORES, "selection.round_to=8"),
}
"""How groups are chosen -> overrides. The last is Torch-Pruning's way: score alone, and widths that are rounded."""


@dataclass(frozen=True)
class LatencyCell:
    """One job of the study."""

    data: str
    method: str
    seed: int
    more: tuple[str, ...] = ()
    trained: bool = False

    @property
    def name(self) -> str:
        """The path of its folder below that of the study."""
        method = self.method.replace(" ", "_").replace(",", "")
        return f"{'trained/' if self.trained else ''}{self.data}/{method}/seed_{self.seed}"

    def needs(self) -> None:
        """No other cell."""

    def runs(self, root: Path) -> dict[float, Path]:
        """Budget -> the folder of its run."""
        return {budget: root / self.name / f"latency_{budget:g}" for budget in BUDGETS}

    def arguments(self, root: Path, nuclei: str = "", bases: str = "") -> list[str]:
        """The command line of its job."""
        return [
            f"+experiment={DATA[self.data]}",
            *METHODS[self.method],
            *(TRAINED if self.trained else ()),
            f"seed={self.seed}",
            *([f"data.root={nuclei}"] if self.data == "nuclei" else []),
            *([f"bases={bases}"] if bases else []),
            f"target.cache={root / 'times'}",
            "tracking=none",
            "check=false",
            "pictures=false",
            f"hydra.run.dir={root / self.name}",
            *self.more,
        ]


def all_cells(data: Sequence[str], seeds: int, more: Sequence[str] = (), trained: bool = False) -> list[LatencyCell]:
    """All methods of a seed before the next, so that a part of the study is a fair one."""
    return [
        LatencyCell(name, method, seed, tuple(more), trained)
        for seed in range(1, seeds + 1)
        for name in data
        for method in METHODS
    ]


Found = dict[tuple[str, float, str], dict[int, tuple[float, float, float]]]
"""(data, budget, method) -> seed -> test IoU, latency and FLOPs that are left, in percent."""


def found_in(cells: Sequence[LatencyCell], root: Path) -> Found:
    """What the runs that are done say at their end."""
    found: Found = {}
    for cell in cells:
        for budget, folder in cell.runs(root).items() if is_done(cell, root) else ():
            last = History.read(folder / "history.csv")[-1]
            values = [100 * last[key] for key in ("test/iou", "resources/latency_fraction", "resources/flops_fraction")]
            found.setdefault((cell.data, budget, cell.method), {})[cell.seed] = (values[0], values[1], values[2])
    return found


def table(found: Found) -> str:
    """A row for each data set, budget and method, and how far ours is above it, seed by seed."""
    rows = []
    for (data, budget, method), runs in sorted(found.items(), key=lambda item: (item[0][0], -item[0][1])):
        scores = _scores(runs)
        row = {
            "data": data,
            "budget": f"{100 * budget:g} %",
            "groups leave": method,
            "test IoU, %": mean_of(scores),
            "time left, %": mean_of({seed: run[1] for seed, run in runs.items()}),
            "FLOPs left, %": f"{fmean(run[2] for run in runs.values()):.1f}",
            "seeds": str(len(runs)),
            "ours above": "",
        }
        ours = found.get((data, budget, OURS))
        if method != OURS and ours is not None:
            test = paired(_scores(ours), scores)
            row["ours above"] = f"{test.difference:+.1f}" + ("" if test.p < 0.05 else " ≈")
        rows.append(row)
    return markdown_table(rows) + "\n\nPaired t-tests over seeds. ≈: they can't tell the two apart (p >= 0.05)."


def _scores(runs: dict[int, tuple[float, float, float]]) -> Scores:
    return {seed: run[0] for seed, run in runs.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, ROOT, list(DATA), jobs=1, hours=2.0)
    parser.add_argument("--trained", action="store_true", help="in steps, with two epochs at the end")
    parser.add_argument("--only-table", action="store_true", help="run none, write the table of what there is")
    parser.add_argument("--into", type=Path, help="page with the table's markers; else it is printed")
    parser.add_argument("more", nargs="*", help="overrides for every job")
    given = parser.parse_args(arguments)
    root = given.root.absolute()
    if "nuclei" in given.data and not given.nuclei and not given.only_table:
        print("the nuclei have no folder; give --nuclei PATH, or --data eyes", file=sys.stderr)
        return 1
    cells = all_cells(given.data, given.seeds, given.more, given.trained)
    failed = []
    if not given.only_table:
        left = [cell for cell in cells if not is_done(cell, root)]
        failed = run_cells(left, root, starter(root, given.nuclei), given.jobs, given.hours)
    return deliver(
        lambda: table(found_in(cells, root)), given.into, TRAINED_MARKER if given.trained else MARKER
    ) or int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
