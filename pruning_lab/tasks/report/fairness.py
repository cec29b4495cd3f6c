"""Where a comparison is unfair: what is not the same for all of its runs, in sentences. Knows rows, not run folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from pruning_lab.lab.output import units
from pruning_lab.resources.table import spelled
from pruning_lab.tasks.report.study_summary import NEAR, Budget, Comparison, differences
from pruning_lab.tasks.report.study_tables import short_commit

KINDS = {
    "base": "other base",
    "data": "other data",
    "budget": "budget missed",
    "reached": "budget not used up",
    "seeds": "fewer or other seeds",
    "missing": "no run",
    "epochs": "other recovery",
    "commit": "other code",
    "settings": "other settings",
    "machine": "other machine",
}
"""What can be unfair -> its name."""

OTHER_EPOCHS = 0.10
"""Recoveries count as equally long where their epochs differ by less than this share: methods take other steps."""

OTHER_SPEED = 0.25
"""One base's latency differs from run to run by less than this share on one machine at rest."""

OTHER_SCORE = 1e-3
"""The base scores the same in every run, but for rounding."""


@dataclass(frozen=True)
class Unfair:
    """One reason to distrust a comparison: a key of `KINDS`, and a sentence."""

    kind: str
    text: str

    @property
    def name(self) -> str:
        """What is unfair, in two or three words."""
        return KINDS[self.kind]


def across(comparisons: Sequence[Comparison]) -> list[Unfair]:
    """What keeps numbers of different tables from being compared."""
    found = []
    data = list(dict.fromkeys(comparison.rows[0].data for comparison in comparisons))
    if len(data) > 1:
        found.append(Unfair("data", f"The runs are on {', '.join(data)}: compare within one of them only."))
    kinds: dict[tuple[str, str], list[str]] = {}
    for comparison in comparisons:
        kinds.setdefault((comparison.rows[0].data, comparison.rows[0].model), []).append(comparison.base)
    for (name, model), bases in kinds.items():
        if len(bases) > 1:
            text = (
                f"On {name}, the runs of {model} start from {len(bases)} bases ({', '.join(bases)}); each has a table."
            )
            found.append(Unfair("base", text))
    return found


def within(comparison: Comparison) -> list[Unfair]:
    """Everything that is not the same for all runs from one base."""
    parts = (_budgets, _seeds, _recoveries, _commits, _settings, _machines)
    return [unfair for part in parts for unfair in part(comparison)]


def _budgets(comparison: Comparison) -> Iterator[Unfair]:
    for budget in comparison.budgets:
        for method in comparison.methods:
            cell = comparison.cells.get((method, budget.text))
            if cell is None:
                yield Unfair("missing", f"{method} has no run at {budget.text}.")
                continue
            if cell.met < cell.runs:
                runs = "the run" if cell.runs == 1 else f"{cell.runs - cell.met} of {cell.runs} runs"
                yield Unfair("budget", f"{method} at {budget.text}: {runs} ended above the budget.")
            reached = getattr(cell, f"{budget.resource}_fraction", None)
            if reached is not None and reached < budget.limit - NEAR:
                left = f"{units.percent(reached)} of {spelled(budget.resource)}"
                yield Unfair("reached", f"{method} at {budget.text} went on to {left}, further than it had to.")


def _seeds(comparison: Comparison) -> Iterator[Unfair]:
    for budget in comparison.budgets:
        seeds = {method: found for method in comparison.methods if (found := _seeds_of(comparison, method, budget))}
        most = max(len(found) for found in seeds.values())
        usual = next(found for found in seeds.values() if len(found) == most)
        for method, found in seeds.items():
            if len(found) < most:
                has = _count(len(found), "seed")
                yield Unfair("seeds", f"{method} at {budget.text} has {has}, where others have {most}.")
            elif found != usual:
                told, others = (", ".join(map(str, each)) for each in (found, usual))
                yield Unfair("seeds", f"{method} at {budget.text} has the seeds {told}, where others have {others}.")


def _seeds_of(comparison: Comparison, method: str, budget: Budget) -> tuple[int, ...]:
    rows = [row for row in comparison.rows if row.method == method and row.budget == budget.text]
    return tuple(sorted(row.seed for row in rows))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _recoveries(comparison: Comparison) -> Iterator[Unfair]:
    for key, values in differences(comparison).items():
        if key.startswith("recovery."):
            yield Unfair("epochs", _told(key, values))
    for budget in comparison.budgets:
        cells = [cell for (_, text), cell in comparison.cells.items() if text == budget.text]
        few, many = (choose(cells, key=lambda cell: cell.epochs) for choose in (min, max))
        if many.epochs > (1 + OTHER_EPOCHS) * few.epochs:
            text = f"At {budget.text}, {many.method} recovered for {many.epochs:.3g} epochs, {few.method} for "
            yield Unfair("epochs", text + f"{few.epochs:.3g}.")


def _commits(comparison: Comparison) -> Iterator[Unfair]:
    commits = Counter(row.commit for row in comparison.rows)
    if len(commits) > 1:
        told = ", ".join(f"{short_commit(commit)} ({_count(count, 'run')})" for commit, count in commits.items())
        yield Unfair("commit", f"The runs were made by several commits: {told}.")
    if any(commit.endswith("-dirty") for commit in commits):
        yield Unfair("commit", "Some runs were made by code that is in no commit (-dirty).")


def _settings(comparison: Comparison) -> Iterator[Unfair]:
    for key, values in differences(comparison).items():
        if not key.startswith("recovery."):
            yield Unfair("settings", _told(key, values))


def _told(key: str, values: dict[str, list[str]]) -> str:
    told = [f"{value} ({', '.join(methods)})" for value, methods in values.items()]
    return f"{key} is {'; '.join(told)}."


def _machines(comparison: Comparison) -> Iterator[Unfair]:
    for split in ("test", "val"):
        scores = [getattr(row, f"base_{split}_iou") for row in comparison.rows]
        if max(scores) - min(scores) > OTHER_SCORE:
            low, high = units.percent(min(scores), 2), units.percent(max(scores), 2)
            yield Unfair("data", f"The base's own {split} IoU is {low} in one run and {high} in another.")
    times = [row.base_latency_ms for row in comparison.rows]
    if max(times) > (1 + OTHER_SPEED) * min(times):
        fast, slow = units.milliseconds(min(times)), units.milliseconds(max(times))
        text = f"The base took from {fast} to {slow}: machines or their load differ, so compare latency as a fraction"
        yield Unfair("machine", f"{text} (mean {units.milliseconds(fmean(times))}).")
