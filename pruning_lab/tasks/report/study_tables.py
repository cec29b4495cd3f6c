"""A study's tables and the sentences around them, as Markdown and for the console. Knows statistics, no run folders."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from pruning_lab.lab.output import units
from pruning_lab.tasks.report.agreement import JUDGE, Agreement
from pruning_lab.tasks.report.pages import markdown_table
from pruning_lab.tasks.report.study_summary import NEAR, SIGNIFICANCE, Budget, Cell, Comparison, differences

SPLIT_NAMES = {"test": "test", "val": "validation"}

EFFECTS = {
    "loss": "change of the loss",
    "flips": "share of pixels that change class",
    "soft_mask": "change of the predicted probabilities",
    "logits": "change of the logits",
}
"""What ablation measured, in words."""

NOT_ON_CONSOLE = ("steps", "epochs")

Agreements = Mapping[tuple[str, str], Agreement]
"""(base, method) -> agreement."""


def by_method(agreements: Sequence[Agreement]) -> Agreements:
    """The records where tables look for them."""
    return {(item.base, item.method): item for item in agreements}


def markdown(comparisons: Sequence[Comparison], agreements: Agreements, split: str) -> str:
    """Every base's heading, table and notes."""
    parts = []
    for comparison in comparisons:
        rows = table_rows(comparison, agreements, split)
        parts += [f"### {title(comparison)}", base_text(comparison, split), markdown_table(rows)]
        parts += [*notes(comparison, agreements, split)]
    return "\n\n".join(parts)


def console_table(comparison: Comparison, agreements: Agreements, split: str) -> Table:
    """The same table for the console, without what takes too much room there."""
    rows = table_rows(comparison, agreements, split)
    rows = [{name: cell for name, cell in row.items() if name not in NOT_ON_CONSOLE} for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title(comparison), title_justify="left")
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_for_console, row.values()))
    return table


def table_rows(comparison: Comparison, agreements: Agreements, split: str) -> list[dict[str, str]]:
    """One row per method, best first: scores at every budget, costs, and how far it agrees with ablation."""
    rows = [_row(comparison, method, agreements, split) for method in comparison.methods]
    judge = agreements.get((comparison.base, JUDGE))
    if judge is not None:
        blank = dict.fromkeys(rows[0], "") | _agreement_cells(judge)
        rows.append(blank | {"method": f"*{JUDGE}, half against half*"})
    return rows


def _for_console(cell: str) -> str:
    cell = re.sub(r"\*\*(.*?)\*\*", r"[bold]\1[/bold]", escape(cell))
    return re.sub(r"^\*(.*)\*$", r"[italic]\1[/italic]", cell).replace(" ± ", "±")


def title(comparison: Comparison) -> str:
    """Data and model; the hash where it takes that to tell bases apart is in the sentence below."""
    row = comparison.rows[0]
    return f"{row.data}, {row.model}"


def base_text(comparison: Comparison, split: str) -> str:
    """What every run of a table started from."""
    row = comparison.rows[0]
    return (
        f"{SPLIT_NAMES[split].capitalize()} IoU in percent, mean ± standard deviation over seeds "
        f"(up to {comparison.most_runs}). The base ({row.base}), from which all runs start, has "
        f"{_points(getattr(row, f'base_{split}_iou'))} at {units.count(row.base_macs)} MACs and "
        f"{units.count(row.base_weights)} weights. {_code(comparison)}"
    )


def _code(comparison: Comparison) -> str:
    """Which commits made the runs, in the order in which they appear."""
    runs = Counter(row.commit for row in comparison.rows)
    if len(runs) == 1:
        return f"Code: {short_commit(comparison.rows[0].commit)}."
    total = len(comparison.rows)
    return f"Code: {', '.join(f'{short_commit(commit)} ({count} of {total} runs)' for commit, count in runs.items())}."


def notes(comparison: Comparison, agreements: Agreements, split: str) -> list[str]:
    """What a reader has to know to trust the table, a paragraph each."""
    deepest = comparison.budgets[-1].text
    lines = [
        "Bold: the highest mean of those that met the budget in every run. ≈: seeds can't tell it from the bold one "
        f"(Welch's t-test, p >= {SIGNIFICANCE}, for each method by itself). Methods stand in the order of {deepest}. "
        "Seconds and images are the method's own, mean over the pruning steps of all budgets; images count once for "
        f"each time that they are gone through. Steps and epochs (of all recoveries) are those of {deepest}."
    ]
    if any(cell.met < cell.runs for cell in comparison.cells.values()):
        lines.append("(not met): the run ended above its budget, because floors or the method forbade further cuts.")
    if unequal := differences(comparison):
        lines.append("**Not all else is equal.** " + " ".join(_difference(*item) for item in unequal.items()))
    mine = [item for (base, _), item in agreements.items() if base == comparison.base]
    return [*lines, *_agreement_notes(mine)]


def _agreement_notes(agreements: Sequence[Agreement]) -> list[str]:
    if not agreements:
        return []
    first = agreements[0]
    lines = [
        "Spearman: correlation of the method's scores on the base with full ablation "
        f"({EFFECTS[first.effect]}), both on "
        f"the same {first.images} images: over all {first.groups} prunable groups, and the mean over the "
        f"{first.layers} layers with enough groups. A method that gives all groups the same score has 0. The last "
        "column is the time that scoring the base took there. The last row says how far ablation on one half of these "
        "images agrees with ablation on the other half, and what it cost on all."
    ]
    lines += [f"No correlation for {item.method}: {item.note.rstrip('.')}." for item in agreements if item.note]
    return lines


def _row(comparison: Comparison, method: str, agreements: Agreements, split: str) -> dict[str, str]:
    cells = {budget: comparison.cells.get((method, budget.text)) for budget in comparison.budgets}
    row = {"method": method}
    for budget, cell in cells.items():
        row[budget.text] = "" if cell is None else _cell(comparison, cell, budget, split)
    deepest = [cell for cell in cells.values() if cell is not None][-1]
    scored = deepest.steps > 0
    row["s/step"] = _seconds(comparison.over_budgets(method, lambda cell: cell.score_seconds)) if scored else ""
    row["images"] = f"{comparison.over_budgets(method, lambda cell: cell.score_images):.0f}" if scored else ""
    row["steps"] = f"{deepest.steps:.3g}"
    row["epochs"] = f"{deepest.epochs:.3g}"
    if any(base == comparison.base for base, _ in agreements):
        row |= _agreement_cells(agreements.get((comparison.base, method)))
    return row


def _cell(comparison: Comparison, cell: Cell, budget: Budget, split: str) -> str:
    """`88.1 ± 0.3`, and whatever is not as it should be."""
    mean, std = cell.iou(split)
    text = _points(mean) if math.isnan(std) else f"{_points(mean)} ± {_points(std)}"
    text = f"**{text}**" if comparison.best(budget.text, split) == cell.method else text
    if cell.runs < comparison.most_runs:
        text += f" (n={cell.runs})"
    reached = {"flops": cell.flops_fraction, "weights": cell.weights_fraction}.get(budget.resource)
    if reached is not None and abs(reached - budget.limit) > NEAR:
        text += f" at {units.percent(reached)}"
    if cell.met < cell.runs:
        text += " (not met)" if not cell.met else f" ({cell.runs - cell.met} of {cell.runs} not met)"
    return f"{text} ≈" if cell.method in comparison.level_with_best(budget.text, split) else text


def _agreement_cells(agreement: Agreement | None) -> dict[str, str]:
    names = ("Spearman", "in layers", "s on base")
    if agreement is None or agreement.note:
        return dict.fromkeys(names, "")
    correlations = (agreement.spearman, agreement.within_layers)
    texts = ["" if math.isnan(value) else f"{value:.2f}" for value in correlations]
    return dict(zip(names, (*texts, _seconds(agreement.seconds)), strict=True))


def _difference(key: str, values: Mapping[str, Sequence[str]]) -> str:
    told = "; ".join(f"{value} ({', '.join(methods)})" for value, methods in values.items())
    return f"`{key}` is {told}."


def short_commit(commit: str) -> str:
    """The first seven digits, and whether the code had been changed."""
    return re.sub(r"^([0-9a-f]{7})[0-9a-f]+", r"\1", commit)


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 0.0995 else f"{value:.2f}" if value < 9.95 else f"{value:.0f}"
