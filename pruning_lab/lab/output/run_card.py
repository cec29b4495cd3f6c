"""What a page says of one run: facts, charts, widths, each step. Knows the files of a run's folder; draws no page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output import units
from pruning_lab.lab.output.base_losses import read_losses
from pruning_lab.lab.output.card import CARDS_FILE, read_cards
from pruning_lab.lab.output.chart import Axis, Chart, Line, chart
from pruning_lab.lab.output.history import History, Row
from pruning_lab.lab.output.run_folder import UNKNOWN, Run, budget_text, choice_of, data_name, read_config, shortest
from pruning_lab.lab.output.tables import before_after_rows
from pruning_lab.lab.output.widths import LayerWidth, read_widths
from pruning_lab.resources.table import MILLISECONDS, column, spelled

OF_CLASS = "val/iou/"
MOST_CLASSES = 10
"""Classes that a small chart can tell apart; of more, those with the lowest IoU at the end are shown."""

STEPS = Axis("pruning step", whole=True)
SCORE = Axis("IoU", spell=lambda value: f"{value:g} %")
LEFT_OF = Axis("left of the base", spell=lambda value: f"{value:g} %")

COLUMNS = {
    "step": ("step", lambda value: f"{value:g}"),
    "val/iou": ("IoU", lambda value: units.percent(value, 2)),
    "val/iou_before_recovery": ("right after the cut", lambda value: units.percent(value, 2)),
    column(MILLISECONDS): (spelled("latency"), units.milliseconds),
    column("latency"): (spelled("latency"), units.percent),
    column("flops"): (spelled("flops"), units.percent),
    column("weights"): (spelled("weights"), units.percent),
    "selection/groups_removed": ("groups removed", lambda value: f"{value:g}"),
    "cost/recovery_epochs": ("epochs", lambda value: f"{value:g}"),
    "cost/score_seconds": ("scoring", units.duration),
    "cost/recovery_seconds": ("recovery", units.duration),
}
"""Column of the history -> its heading in the table of steps, and how a number is spelled there."""


@dataclass(frozen=True)
class RunCard:
    """A run, ready for a template.

    Attributes:
        anchor: its name within a page.
        title: data, model and method.
        facts: (what, text).
        comparison: a row for each quantity of base and pruned model.
        names: of these two.
        steps: header, and the rows of the history.
        config: the run's, as YAML; empty where there is none.
    """

    anchor: str
    title: str
    met: bool
    budget: str
    seed: int
    facts: list[tuple[str, str]]
    names: tuple[str, str]
    comparison: list[dict[str, str]]
    charts: list[Chart]
    widths: list[LayerWidth]
    header: list[str]
    steps: list[list[str]]
    config: str
    folder: Path


def open_run(folder: Path) -> Run:
    """A run as its folder holds it, also one that ended before its first cut, or that no config made.

    Raises:
        LabError: a file is missing or damaged.
    """
    path = Path(folder) / "config.yaml"
    config: Mapping[str, Any] = read_config(path) if path.is_file() else {}
    if not (Path(folder) / CARDS_FILE).is_file():
        raise LabError(f"{folder}: there is no {CARDS_FILE}; give the folder of a finished run")
    return Run(Path(folder), config, History.read(Path(folder) / "history.csv"), read_cards(folder))


def run_card(run: Run, anchor: str = "run", method: str = "") -> RunCard:
    """Everything that a page says of a run.

    Args:
        method: how the run's method is called among others; by default as its config says.
    """
    cards = run.cards
    named = [data_name(run), choice_of(run, "model"), method or choice_of(run, "importance")]
    shown = {name: text for name, text in COLUMNS.items() if name in run.history.names}
    return RunCard(
        anchor=anchor,
        title=", ".join(name for name in named if name != UNKNOWN) or run.folder.name,
        met=cards.budget_met,
        budget=budget_text(run),
        seed=cards.seed,
        facts=_facts(run),
        names=(cards.base.name, cards.pruned.name),
        comparison=before_after_rows(cards.base, cards.pruned),
        charts=_charts(run),
        widths=read_widths(run.folder),
        header=[heading for heading, _ in shown.values()],
        steps=[[_cell(row, name, spell) for name, (_, spell) in shown.items()] for row in run.history],
        config=yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True) if run.config else "",
        folder=run.folder,
    )


def _facts(run: Run) -> list[tuple[str, str]]:
    cards, rows = run.cards, run.history.rows
    epochs = sum(row.get("cost/recovery_epochs", 0.0) for row in rows[1:])
    return [
        ("budget", f"{budget_text(run)}, {'met' if cards.budget_met else 'NOT met'}"),
        ("seed", str(cards.seed)),
        ("kept", f"{cards.pruned.name}, of {int(rows[-1]['step'])} steps"),
        ("recovery", f"{epochs:g} epochs in all"),
        ("base", cards.base_hash),
        ("code", cards.commit),
        ("folder", str(shortest(run.folder))),
    ]


def _charts(run: Run) -> list[Chart]:
    history = run.history
    drawn = [_scores(history), _trade(history), _costs(history), _classes(history), _base(run.folder)]
    return [each for each in drawn if each is not None]


def _points(history: History, x: str, y: str) -> list[tuple[float, float]]:
    """Pairs of two columns; fractions in percent."""
    return [(_shown(row, x), _shown(row, y)) for row in history]


def _shown(row: Row, name: str) -> float:
    value = row.get(name, float("nan"))
    return value if name == "step" else round(100 * value, 3)


def _scored(history: History, x: str) -> list[Line]:
    """IoU after recovery and right after the cut, and the base's, over a column."""
    after = _points(history, x, "val/iou")
    base = [(point[0], after[0][1]) for point in (after[0], after[-1])]
    lines = [Line("base", base, "quiet"), Line("after recovery", after, "line0")]
    if "val/iou_before_recovery" in history.names:
        lines.append(Line("right after the cut", _points(history, x, "val/iou_before_recovery"), "line1", joined=False))
    return lines


def _scores(history: History) -> Chart | None:
    return chart("Validation IoU", _scored(history, "step"), STEPS, SCORE)


def _trade(history: History) -> Chart | None:
    x = Axis("FLOPs left, of the base's", spell=lambda value: f"{value:.3g} %", log=True, falling=True)
    return chart("Validation IoU over FLOPs", _scored(history, column("flops")), x, SCORE)


def _costs(history: History) -> Chart | None:
    names = [name for name in ("flops", "weights", "memory", "latency") if column(name) in history.names]
    lines = [
        Line(spelled(name), _points(history, "step", column(name)), f"line{place}") for place, name in enumerate(names)
    ]
    return chart("What is left of the base", lines, STEPS, LEFT_OF)


def _classes(history: History) -> Chart | None:
    names = [name for name in history.names if name.startswith(OF_CLASS)]
    lowest = sorted(names, key=lambda name: history[-1].get(name, 0.0))[:MOST_CLASSES]
    shown = [name for name in names if name in lowest]
    lines = [
        Line(name.removeprefix(OF_CLASS), _points(history, "step", name), f"line{place}")
        for place, name in enumerate(shown)
    ]
    title = "Validation IoU of each class" if len(shown) == len(names) else f"The {len(shown)} classes of lowest IoU"
    return chart(title, lines, STEPS, SCORE)


def _base(folder: Path) -> Chart | None:
    losses = read_losses(folder)
    line = Line("loss", [(float(epoch), loss) for epoch, loss in enumerate(losses, start=1)], "line0")
    log = bool(losses) and min(losses) > 0
    return chart(
        "Training of the base: mean loss", [line], Axis("epoch", whole=True), Axis("loss", "{:.3g}".format, log=log)
    )


def _cell(row: Row, name: str, spell: Any) -> str:
    return spell(row[name]) if name in row else ""
