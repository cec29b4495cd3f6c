"""What the page of a report says of each comparison, ready for its template. Reads run folders; runs no model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pruning_lab.lab.output.run_card import RunCard, run_card
from pruning_lab.lab.output.run_folder import Run
from pruning_lab.lab.output.widths import read_widths
from pruning_lab.tasks.report.fairness import Unfair, within
from pruning_lab.tasks.report.looks import CONTROL, looks
from pruning_lab.tasks.report.page.parallel import parallel
from pruning_lab.tasks.report.page.plots import Plot, pareto, widths
from pruning_lab.tasks.report.page.side_by_side import SideBySide
from pruning_lab.tasks.report.page.tiles import TileRow, keys, tile_rows
from pruning_lab.tasks.report.study import Study
from pruning_lab.tasks.report.study_figures import COSTS
from pruning_lab.tasks.report.study_methods import changed_settings
from pruning_lab.tasks.report.study_rows import StudyRow
from pruning_lab.tasks.report.study_summary import Budget, Comparison
from pruning_lab.tasks.report.study_tables import base_text, notes, table_rows, title

Sides = Mapping[str, SideBySide | str]
"""Hash of a base -> what its methods predict, or why that is not shown."""


@dataclass(frozen=True)
class Key:
    """A method in the legend: its sign, and its color as a variable of the style sheet."""

    method: str
    sign: str
    color: str


@dataclass(frozen=True)
class Cell:
    """A cell of the table of scores."""

    text: str
    best: bool


@dataclass(frozen=True)
class Section:
    """One comparison.

    Attributes:
        tradeoffs: plots of IoU over costs.
        rows: of the table of scores, below `header`.
        why_no_tiles: a sentence, where there are no pictures of predictions.
    """

    anchor: str
    title: str
    opening: str
    unfair: list[Unfair]
    keys: list[Key]
    tradeoffs: list[Plot]
    header: list[str]
    rows: list[list[Cell]]
    notes: list[str]
    widths: list[Plot]
    tiles: list[TileRow]
    looked_at: int
    class_keys: list[tuple[str, str]]
    error_keys: list[tuple[str, str]]
    why_no_tiles: str
    changed: Plot | None
    cards: list[RunCard]

    @property
    def plots(self) -> list[Plot]:
        """All of the section."""
        return [*self.tradeoffs, *self.widths, *([self.changed] if self.changed else [])]


def sections(study: Study, runs: Mapping[str, Run], sides: Sides) -> list[Section]:
    """One for each base.

    Args:
        runs: folder -> run.
        sides: see `Sides`; a base that is not in it has no pictures.
    """
    numbered = {row.folder: f"run-{number}" for number, row in enumerate(study.rows, start=1)}
    return [
        _section(study, comparison, number, runs, sides.get(comparison.base, ""), numbered)
        for number, comparison in enumerate(study.comparisons(), start=1)
    ]


def _section(
    study: Study,
    comparison: Comparison,
    number: int,
    runs: Mapping[str, Run],
    side: SideBySide | str,
    anchors: Mapping[str, str],
) -> Section:
    split, place = study.split, f"comparison-{number}"
    table = table_rows(comparison, study.by_method(), split)
    classes, errors = ([], []) if isinstance(side, str) else keys(side)
    settings = changed_settings([runs[row.folder] for row in comparison.rows])
    return Section(
        anchor=place,
        title=title(comparison),
        opening=base_text(comparison, split),
        unfair=within(comparison),
        keys=_keys(comparison),
        tradeoffs=[pareto(comparison, cost, split, anchors, f"{place}-{cost}") for cost in COSTS],
        header=list(table[0]),
        rows=[[_cell(text) for text in row.values()] for row in table],
        notes=[note for note in notes(comparison, study.by_method(), split) if "Not all else is equal" not in note],
        widths=_widths(comparison, runs, split, place),
        tiles=[] if isinstance(side, str) else tile_rows(side),
        looked_at=0 if isinstance(side, str) else side.looked_at,
        class_keys=classes,
        error_keys=errors,
        why_no_tiles=side if isinstance(side, str) else "",
        changed=parallel(comparison, settings, split, anchors, f"{place}-changed"),
        cards=[run_card(runs[row.folder], anchors[row.folder], row.method) for row in comparison.rows],
    )


def _keys(comparison: Comparison) -> list[Key]:
    drawn = looks(comparison.methods)
    return [
        Key(method, look.sign, "control" if look.place == CONTROL else f"line{look.place}")
        for method in comparison.methods
        for look in [drawn[method]]
    ]


def _cell(text: str) -> Cell:
    """A cell of a Markdown table, whose stars say which method is best."""
    return Cell(re.sub(r"\*", "", text) if text.startswith("*") else text, text.startswith("**"))


def _widths(comparison: Comparison, runs: Mapping[str, Run], split: str, place: str) -> list[Plot]:
    """For each budget, the widths of each method's best run; the method that won stands first, with a star."""
    plots = []
    for number, budget in enumerate(comparison.budgets):
        winner = comparison.best(budget.text, split)
        chosen = {
            f"★ {method}" if method == winner else method: read_widths(runs[row.folder].folder)
            for method in sorted(comparison.methods, key=lambda method: method != winner)
            if (row := best_run(comparison, method, budget)) is not None
        }
        told = {heading: found for heading, found in chosen.items() if found}
        plot = widths(told, f"{place}-widths-{number}", f"Filters left per layer, {budget.text}") if told else None
        plots += [plot] if plot is not None else []
    return plots


def best_run(comparison: Comparison, method: str, budget: Budget) -> StudyRow | None:
    """A method's run of the highest validation IoU at a budget, of those that met it if any did."""
    rows = [row for row in comparison.rows if (row.method, row.budget) == (method, budget.text)]
    return max(rows, key=lambda row: (row.met, row.val_iou)) if rows else None
