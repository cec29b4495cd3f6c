"""Pareto figures of a study: IoU over what is left of a cost, a line per method. Knows statistics, not run folders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pruning_lab.lab.output.figures import fraction_axis
from pruning_lab.lab.output.palette import DARK, drawing
from pruning_lab.resources.table import spelled
from pruning_lab.tasks.report.looks import Look, looks
from pruning_lab.tasks.report.study_summary import Cell, Comparison
from pruning_lab.tasks.report.study_tables import SPLIT_NAMES, title

COSTS = {"flops": spelled("flops"), "weights": spelled("weights"), "latency": f"measured {spelled('latency')}"}
"""Resource -> its name on the axis."""

FORMATS = ("png", "pdf", "svg")
"""In which figures can be written."""

SPREAD = 0.05
"""The points of one budget stand side by side, so far to either side on the logarithmic axis."""

FAR = 6.0
"""Scores are shown in two panels where all of them take so many times the room of the better half."""

# All lengths are inches.
PLOT_WIDTH, HEIGHT, LETTER = 6.7, 4.6, 0.08


def pareto(comparison: Comparison, cost: str, split: str, path: Path, formats: Sequence[str] = ()) -> Path:
    """Mean IoU over the mean fraction of a cost that is left, with standard deviations, base as a dashed line.

    Random controls are grey. Where some methods fall far behind, the upper panel shows the better half more closely.

    Args:
        cost: `flops`, `weights` or `latency`.
        split: whose IoU, `test` or `val`.
        formats: in which the figure is written besides, such as `pdf`.
    """
    drawn = looks(comparison.methods)
    base = 100 * getattr(comparison.rows[0], f"base_{split}_iou")
    means = [100 * cell.iou(split)[0] for cell in comparison.cells.values()]
    close = _close(base, means)
    names = LETTER * max(len(method) for method in comparison.methods)
    with drawing(path, PLOT_WIDTH + names, HEIGHT * (1.25 if close else 1), formats=formats) as figure:
        panels = _panels(figure, close is not None)
        for axes in panels:
            axes.axhline(base, color=DARK, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1, label=f"base, {base:.1f} %")
            for method in comparison.methods:
                _draw_method(axes, comparison, method, cost, split, drawn[method])
            axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
        panels[0].set_title(f"{title(comparison)}: {SPLIT_NAMES[split]} IoU" + (", the better half" if close else ""))
        if close:
            panels[0].set_ylim(*close)
            panels[1].set_title("all")
        fractions = [getattr(cell, f"{cost}_fraction") for cell in comparison.cells.values()]
        beside = " (methods side by side)" if cost == "flops" else ""
        fraction_axis(panels[-1], max(fractions) * 1.12, min(fractions) / 1.12)
        panels[-1].set_xlabel(f"{COSTS[cost]} left, of the base's{beside}, logarithmic")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", fontsize=9, labelspacing=0.7)
    return path


def pareto_figures(
    comparison: Comparison, split: str, folder: Path, formats: Sequence[str] = ("png",)
) -> dict[Path, str]:
    """A figure for every cost, in each of some formats. Returns the paths of the first, and what they show."""
    stem = f"{comparison.rows[0].data}_{comparison.base[:6]}".replace(" ", "_").replace("/", "_")
    return {
        pareto(comparison, cost, split, Path(folder) / f"{stem}_{cost}.{formats[0]}", formats[1:]): (
            f"{title(comparison)}: IoU over {name}"
        )
        for cost, name in COSTS.items()
    }


def _panels(figure: Figure, two: bool) -> list[Axes]:
    if not two:
        return [figure.subplots()]
    return list(figure.subplots(2, 1, sharex=True, height_ratios=(3, 2)))


def _close(base: float, means: Sequence[float]) -> tuple[float, float] | None:
    """The range that holds the better half, if the others are far below; else None."""
    top, middle = max(base, *means), median(means)
    room = top - middle
    if top - min(means) <= FAR * max(room, 0.5):
        return None
    return middle - 0.6 * room - 0.2, top + 0.15 * room + 0.2


def _draw_method(axes: Axes, comparison: Comparison, method: str, cost: str, split: str, look: Look) -> None:
    cells = [comparison.cells.get((method, budget.text)) for budget in comparison.budgets]
    there: list[Cell] = sorted(
        (cell for cell in cells if cell is not None), key=lambda cell: -getattr(cell, f"{cost}_fraction")
    )
    aside = _aside(comparison.methods.index(method), len(comparison.methods)) if cost == "flops" else 1.0
    axes.errorbar(
        [100 * aside * getattr(cell, f"{cost}_fraction") for cell in there],
        [100 * cell.iou(split)[0] for cell in there],
        yerr=[0.0 if math.isnan(std := cell.iou(split)[1]) else 100 * std for cell in there],
        color=look.color,
        marker=look.shape.marker,
        linestyle=(0, (2, 2)) if look.dashed else "-",
        linewidth=1.3,
        elinewidth=1.0,
        capsize=2.0,
        markersize=5,
        markerfacecolor="white" if look.hollow else look.color,
        label=method,
        zorder=2 if look.dashed else 3,
    )


def _aside(place: int, count: int) -> float:
    """The factor that moves a method's points beside those of the others, in the order of the legend."""
    return math.exp(SPREAD * (1 - 2 * place / (count - 1))) if count > 1 else 1.0
