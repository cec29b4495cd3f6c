"""The tables of the study of healing: means over seeds, and paired tests against the best peer. Reads no files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import ttest_rel

from pruning_lab.tasks.report.pages import markdown_table
from tests.benchmarks.study_cells import CONTROLS, DOWNSTREAM_OF, HEALING, OWN, PEERS, SEARCHED, SOLVED, Cell

SIGNIFICANT = 0.05
RANDOM = ("random", "least_squares")

Scores = Mapping[int, float]
"""Seed -> test IoU in percent."""


@dataclass(frozen=True)
class Result:
    """One run: fractions as its card has them, its base's hash and the commit that it ran at."""

    cell: Cell
    budget: float
    iou: float
    base_iou: float
    base: str = ""
    commit: str = ""


@dataclass(frozen=True)
class Paired:
    """One method against another over the seeds that both have.

    Attributes:
        difference: mean of the first's IoU minus the second's, in points.
        p: of a two-sided paired t-test; NaN with fewer than two seeds, 0 or 1 where all differences are the same.
        seeds: how many.
    """

    difference: float
    p: float
    seeds: int


def paired(one: Scores, other: Scores) -> Paired:
    """A paired comparison, as all methods start from the same base with the same seeds' shuffles."""
    shared = sorted(set(one) & set(other))
    differences = [one[seed] - other[seed] for seed in shared]
    if not differences:
        return Paired(math.nan, math.nan, 0)
    mean = fmean(differences)
    if len(shared) < 2:
        return Paired(mean, math.nan, len(shared))
    if max(differences) - min(differences) < 1e-9:
        return Paired(mean, float(abs(mean) < 1e-9), len(shared))
    p = float(ttest_rel([one[seed] for seed in shared], [other[seed] for seed in shared]).pvalue)
    return Paired(mean, p, len(shared))


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for how many tests there are (Holm 1979); NaN stays, and counts for none."""
    order = sorted((n for n, p in enumerate(values) if not math.isnan(p)), key=lambda n: values[n])
    corrected, highest = list(values), 0.0
    for place, number in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - place) * values[number]))
        corrected[number] = highest
    return corrected


Key = tuple[str, str]
"""(method, compensation)."""


def by_method(results: Sequence[Result], data: str, healing: str, budget: float) -> dict[Key, Scores]:
    """(method, compensation) -> seed -> IoU in percent."""
    found: dict[Key, dict[int, float]] = {}
    for one in results:
        if (one.cell.data, one.cell.healing, one.budget) == (data, healing, budget):
            scores = found.setdefault((one.cell.method, one.cell.compensation), {})
            scores[one.cell.seed] = 100 * one.iou
    return {key: dict(scores) for key, scores in found.items()}


def text_of(results: Sequence[Result]) -> str:
    """Everything, as Markdown: for each data set and healing a table, then our best against the best peer."""
    parts = []
    for data in dict.fromkeys(one.cell.data for one in results):
        base = fmean(100 * one.base_iou for one in results if one.cell.data == data)
        parts.append(
            f"### {data}\n\nTest IoU in percent, mean ± standard deviation over seeds; the base has {base:.1f}."
        )
        for healing in HEALING:
            if any((one.cell.data, one.cell.healing) == (data, healing) for one in results):
                parts.append(f"**Healing: {healing}**\n\n{_table(results, data, healing)}")
    parts.append("### Our best against the best peer\n\n" + _duels(results))
    if rows := _as_own(results):
        parts.append("### A method alone, and as downstream's own\n\n" + markdown_table(rows))
    return "\n\n".join(parts)


def _budgets(results: Sequence[Result]) -> list[float]:
    return sorted({one.budget for one in results}, reverse=True)


def _table(results: Sequence[Result], data: str, healing: str) -> str:
    columns = {budget: by_method(results, data, healing, budget) for budget in _budgets(results)}
    last = next((column for column in reversed(columns.values()) if column), {})
    methods = list(dict.fromkeys(key for column in columns.values() for key in column))
    methods.sort(key=lambda key: -fmean(last[key].values()) if key in last else math.inf)
    rows = []
    for key in methods:
        row = {"method": key[0], "compensation": key[1]}
        row |= {f"{100 * budget:g} % FLOPs": _cell(column, key) for budget, column in columns.items()}
        rows.append(row)
    return markdown_table(rows)


def _cell(column: Mapping[Key, Scores], key: Key) -> str:
    if key not in column:
        return ""
    best = max(fmean(scores.values()) for scores in column.values())
    text = mean_of(column[key])
    return f"**{text}**" if fmean(column[key].values()) == best else text


def _as_own(results: Sequence[Result]) -> list[dict[str, str]]:
    """A row for each method that was tried as downstream's own: its mean alone / with what lies downstream."""
    rows = []
    names = {one.cell.method for one in results if one.cell.method.startswith(DOWNSTREAM_OF)}
    for data in dict.fromkeys(one.cell.data for one in results):
        for healing in HEALING:
            for name in sorted(names):
                row = {"data": data, "healing": healing, "own method": name.removeprefix(DOWNSTREAM_OF)}
                for budget in _budgets(results):
                    found = by_method(results, data, healing, budget)
                    alone, ahead = found.get((row["own method"], SOLVED)), found.get((name, SOLVED))
                    if alone and ahead:
                        row[f"{100 * budget:g} % FLOPs"] = f"{fmean(alone.values()):.1f} / {fmean(ahead.values()):.1f}"
                if len(row) > 3:
                    rows.append(row)
    return rows


def _duels(results: Sequence[Result]) -> str:
    """A row for each data set, healing and budget that has both: who, by how much, and p corrected over all rows."""
    rows, values = [], []
    for data in dict.fromkeys(one.cell.data for one in results):
        for healing in HEALING:
            for budget in _budgets(results):
                found = by_method(results, data, healing, budget)
                ours = _best(found, _ours(found))
                theirs = _best(found, [key for key in found if key[0] in PEERS])
                if ours is None or theirs is None:
                    continue
                test = paired(found[ours], found[theirs])
                values.append(test.p)
                rows.append(
                    {
                        "data": data,
                        "healing": healing,
                        "FLOPs": f"{100 * budget:g} %",
                        "ours": "-".join(ours),
                        "theirs": "-".join(theirs),
                        "points": f"{test.difference:+.1f}",
                        "seeds": str(test.seeds),
                    }
                )
    if not rows:
        return "No cell of a peer has finished."
    for row, p in zip(rows, holm(values), strict=True):
        row["p (Holm)"] = "" if math.isnan(p) else f"{p:.3f}" + ("" if p < SIGNIFICANT else " ≈")
    return (
        markdown_table(rows) + "\n\nPaired t-tests over seeds, corrected over all rows. ≈: seeds can't tell them apart."
    )


def short_of(results: Sequence[Result], budget: float) -> str:
    """The short table, of one budget: the base, our best method, the best peer and random, with each kind of healing.

    Random filters have the repair of ours, so that a row tells what choosing adds to it. The higher mean is bold.
    """
    rows = []
    for data in dict.fromkeys(one.cell.data for one in results):
        base = fmean(100 * one.base_iou for one in results if one.cell.data == data)
        for healing in HEALING:
            found = by_method(results, data, healing, budget)
            ours, theirs = _best(found, _ours(found)), _best(found, [key for key in found if key[0] in PEERS])
            if ours is not None and theirs is not None and RANDOM in found:
                told = {key: mean_of(found[key]) for key in (ours, theirs)}
                higher = _best(found, [ours, theirs])
                told = {key: f"**{text}**" if key == higher else text for key, text in told.items()}
                rows.append(
                    {
                        "data": data,
                        "healing": healing,
                        "not pruned": f"{base:.1f}",
                        "ours, best": f"{told[ours]} ({ours[0]})",
                        "Torch-Pruning, best": f"{told[theirs]} ({theirs[0].removeprefix('peer_')})",
                        "random": mean_of(found[RANDOM]),
                    }
                )
    return markdown_table(rows) if rows else "No cell of a peer has finished."


def _ours(found: Mapping[Key, Scores]) -> list[Key]:
    """The project's own methods; what downstream is held against, and with, is no contender."""
    others = (*PEERS, *SEARCHED, *CONTROLS, *OWN)
    return [key for key in found if key[0] not in others and not key[0].startswith(DOWNSTREAM_OF)]


def mean_of(scores: Scores) -> str:
    """Mean ± standard deviation, with one digit; the value alone where there is one seed."""
    values = list(scores.values())
    return f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def _best(found: Mapping[Key, Scores], keys: Sequence[Key]) -> Key | None:
    return max(keys, key=lambda key: fmean(found[key].values()), default=None)
