"""Statistics of a study: a cell for every method and budget, over its seeds. Knows rows, not run folders."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from scipy.stats import ttest_ind_from_stats

from pruning_lab.resources.table import RESOURCES
from pruning_lab.tasks.report.study_rows import StudyRow, write_records

SUMMARY_FILE = "summary.csv"
SPLITS = ("test", "val")

NEAR = 0.01
"""A cost within so much of its budget, as fractions of the base's, counts as the budget."""

SIGNIFICANCE = 0.05
"""Two methods differ where chance over seeds would make a difference as large in fewer than this share of studies."""


@dataclass(frozen=True)
class Cell:
    """One method at one budget, over its seeds. `std` have n - 1 in the denominator and are NaN for a single run.

    Attributes:
        runs: how many seeds there are.
        met: how many of these meet the budget.
    """

    base: str
    data: str
    model: str
    method: str
    budget: str
    runs: int
    met: int
    test_iou_mean: float
    test_iou_std: float
    val_iou_mean: float
    val_iou_std: float
    flops_fraction: float
    weights_fraction: float
    latency_fraction: float
    score_seconds: float
    score_images: float
    steps: float
    epochs: float

    def iou(self, split: str) -> tuple[float, float]:
        """Mean and standard deviation on `test` or `val`."""
        return getattr(self, f"{split}_iou_mean"), getattr(self, f"{split}_iou_std")


@dataclass(frozen=True)
class Budget:
    """A column of a table: what was to be reached."""

    text: str
    resource: str
    limit: float


@dataclass(frozen=True)
class Comparison:
    """All runs from one base.

    Attributes:
        methods: best first, by the mean score at the tightest budget that a method has.
        budgets: widest first.
        cells: (method, budget's text) -> cell, where there is a run.
        rows: one for every run.
    """

    rows: tuple[StudyRow, ...]
    methods: tuple[str, ...]
    budgets: tuple[Budget, ...]
    cells: dict[tuple[str, str], Cell]

    @property
    def base(self) -> str:
        """The hash of the base."""
        return self.rows[0].base

    @property
    def most_runs(self) -> int:
        """Seeds of the cell that has most."""
        return max(cell.runs for cell in self.cells.values())

    def best(self, budget: str, split: str) -> str | None:
        """The method with the highest mean of those of which every run meets the budget; None for fewer than two."""
        fit = self._fit(budget)
        return max(fit, key=lambda cell: cell.iou(split)[0]).method if len(fit) > 1 else None

    def level_with_best(self, budget: str, split: str) -> list[str]:
        """The other methods, of those of which every run meets the budget, that seeds can't tell from the best."""
        best = self.best(budget, split)
        if best is None:
            return []
        top = self.cells[best, budget]
        return [cell.method for cell in self._fit(budget) if cell.method != best and level(top, cell, split)]

    def _fit(self, budget: str) -> list[Cell]:
        return [cell for (_, text), cell in self.cells.items() if text == budget and cell.met == cell.runs]

    def over_budgets(self, method: str, value: Callable[[Cell], float]) -> float:
        """The mean of something over all budgets that a method has."""
        return fmean(value(cell) for (name, _), cell in self.cells.items() if name == method)


def level(one: Cell, other: Cell, split: str) -> bool:
    """Whether chance over seeds explains that two methods' means differ; False where either has a single run.

    Source: Welch, "The generalization of Student's problem when several different population variances are involved"
    (1947): the two-sided t-test without equal variances.
    """
    if min(one.runs, other.runs) < 2:
        return False
    (mean, std), (other_mean, other_std) = one.iou(split), other.iou(split)
    if std == other_std == 0:
        return mean == other_mean
    test = ttest_ind_from_stats(mean, std, one.runs, other_mean, other_std, other.runs, equal_var=False)
    return bool(test.pvalue >= SIGNIFICANCE)


def compare(rows: Sequence[StudyRow], split: str = "test") -> list[Comparison]:
    """One comparison for each base, in the order in which bases appear.

    Args:
        split: by whose IoU methods are put in order.
    """
    return [
        _comparison([row for row in rows if row.base == base], split)
        for base in dict.fromkeys(row.base for row in rows)
    ]


def write_summary(folder: Path, comparisons: Sequence[Comparison]) -> Path:
    """Write one line per method and budget."""
    cells = [
        comparison.cells[method, budget.text]
        for comparison in comparisons
        for method in comparison.methods
        for budget in comparison.budgets
        if (method, budget.text) in comparison.cells
    ]
    return write_records(Path(folder) / SUMMARY_FILE, Cell, cells)


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1); NaN for the latter where there is one value."""
    return fmean(values), stdev(values) if len(values) > 1 else math.nan


def differences(comparison: Comparison) -> dict[str, dict[str, list[str]]]:
    """Setting -> value -> methods, for settings that are not the same in all runs though nothing asked for that."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in comparison.rows:
        for key, value in json.loads(row.differing).items():
            methods = found.setdefault(key, {}).setdefault(str(value), [])
            if row.method not in methods:
                methods.append(row.method)
    return found


def _comparison(rows: Sequence[StudyRow], split: str) -> Comparison:
    budgets = sorted({Budget(row.budget, row.resource, row.limit) for row in rows}, key=_place)
    groups: dict[tuple[str, str], list[StudyRow]] = {}
    for row in rows:
        groups.setdefault((row.method, row.budget), []).append(row)
    cells = {key: _cell(group) for key, group in groups.items()}

    def rank(method: str) -> tuple[int, float]:
        for place, budget in enumerate(reversed(budgets)):
            if (method, budget.text) in cells:
                return place, -cells[method, budget.text].iou(split)[0]
        raise AssertionError(f"{method} has no run")

    methods = sorted(dict.fromkeys(row.method for row in rows), key=rank)
    return Comparison(tuple(rows), tuple(methods), tuple(budgets), cells)


def _place(budget: Budget) -> tuple[int, float, str]:
    return RESOURCES.index(budget.resource), -budget.limit, budget.text


def _cell(rows: Sequence[StudyRow]) -> Cell:
    first = rows[0]
    test, val = (mean_and_std([getattr(row, f"{split}_iou") for row in rows]) for split in SPLITS)
    means = {name: fmean(getattr(row, name) for row in rows) for name in _MEANS}
    return Cell(
        base=first.base,
        data=first.data,
        model=first.model,
        method=first.method,
        budget=first.budget,
        runs=len(rows),
        met=sum(row.met for row in rows),
        test_iou_mean=test[0],
        test_iou_std=test[1],
        val_iou_mean=val[0],
        val_iou_std=val[1],
        **means,
    )


_MEANS = (
    "flops_fraction",
    "weights_fraction",
    "latency_fraction",
    "score_seconds",
    "score_images",
    "steps",
    "epochs",
)
