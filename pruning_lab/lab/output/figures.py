"""Pictures of a run over its steps: scores, costs, and the training of its base. Draws numbers; runs no model.

Each function takes `about`, the line that names the run on its picture.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.palette import BLUE, GREEN, GREY, LIGHT, ORANGE, VERMILION, drawing, line_colors
from pruning_lab.resources.table import column, spelled

AFTER, BEFORE = "val/iou", "val/iou_before_recovery"
FLOPS, WEIGHTS = column("flops"), column("weights")
OF_CLASS = "val/iou/"
CLASSES_PER_COLUMN = 14
FRACTION_TICKS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01)


def score_over_steps(history: History, path: Path, about: str = "") -> Path:
    """Two panels over the pruning steps: validation IoU before and after recovery; FLOPs and weights left."""
    steps = history.column("step")
    with drawing(path, 7.5, 5.6, about) as figure:
        score, cost = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _plot_scores(score, steps, history)
        score.set_title("Validation IoU")
        for name, label, color, marker in (
            (FLOPS, spelled("flops"), BLUE, "s"),
            (WEIGHTS, spelled("weights"), ORANGE, "D"),
        ):
            cost.plot(steps, _percent(history, name), f"-{marker}", color=color, label=label, markersize=3.5)
        cost.set_title("What is left of the base")
        cost.set_ylim(0, 105)
        cost.set_xlabel("pruning step")
        cost.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        cost.yaxis.set_major_formatter(PercentFormatter(decimals=0))
        for axes in (score, cost):
            _add_legend(axes)
    return path


def iou_against_flops(history: History, path: Path, about: str = "") -> Path:
    """The trade: validation IoU over the FLOPs that are left, base at the left, on a logarithmic axis."""
    fractions = _percent(history, FLOPS)
    with drawing(path, 7.5, 4.4, about) as figure:
        axes = figure.subplots()
        _plot_scores(axes, fractions, history)
        axes.set_title("Validation IoU")
        axes.set_xlabel("FLOPs left, of the base's (logarithmic)")
        fraction_axis(axes, 1.08, min(value for value in fractions if value > 0) / 108)
        _add_legend(axes)
    return path


def fraction_axis(axes: Axes, high: float, low: float) -> None:
    """A logarithmic axis of what is left of a cost, in percent for fractions from `high` at the left to `low`."""
    axes.set_xscale("log")
    axes.set_xlim(100 * high, 100 * low)
    axes.set_xticks([100 * tick for tick in FRACTION_TICKS if low <= tick <= high])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))


def iou_of_classes(history: History, path: Path, about: str = "") -> Path | None:
    """Validation IoU of each class over the pruning steps; None, and no picture, where no class has one."""
    names = [name for name in history.names if name.startswith(OF_CLASS)]
    if not names:
        return None
    steps = history.column("step")
    columns = -(-len(names) // CLASSES_PER_COLUMN)
    with drawing(path, 6.5 + 1.2 * columns, 4.4, about) as figure:
        axes = figure.subplots()
        for name, color in zip(names, line_colors(len(names)), strict=True):
            axes.plot(
                steps, _percent(history, name), "-o", color=color, markersize=3, label=name.removeprefix(OF_CLASS)
            )
        axes.set_title("Validation IoU of each class")
        axes.set_xlabel("pruning step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter(PercentFormatter(decimals=None))
        figure.legend(loc="outside right upper", ncols=columns, fontsize=9)
    return path


def base_training(losses: Sequence[float], path: Path, about: str = "") -> Path:
    """Mean training loss of each epoch of the base, on a logarithmic axis where all are above 0.

    Raises ValueError without any epoch.
    """
    if not losses:
        raise ValueError("there is no epoch to draw")
    with drawing(path, 7.5, 3.6, about) as figure:
        axes = figure.subplots()
        axes.plot(range(1, len(losses) + 1), losses, "-o", color=BLUE, markersize=3)
        logarithmic = all(0 < loss < math.inf for loss in losses)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set_title("Training of the base: mean loss" + (" (logarithmic)" if logarithmic else ""))
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return path


def _plot_scores(axes: Axes, positions: Sequence[float], history: History) -> None:
    """IoU in percent at `positions`: a line after recovery, joined to hollow points right after the cut."""
    after = _percent(history, AFTER)
    axes.axhline(after[0], color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), label="base", zorder=1)
    if BEFORE in history.names:
        before = _percent(history, BEFORE)
        axes.vlines(positions, before, after, color=LIGHT, linewidth=2.2, zorder=1.5)
        hollow: dict[str, Any] = {"color": VERMILION, "markerfacecolor": "white"}
        axes.plot(positions, before, "o", **hollow, label="right after the cut", zorder=2)
    axes.plot(positions, after, "-o", color=GREEN, label="after recovery", zorder=3)
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=None))
    fractions = history.column(FLOPS)
    if len(fractions) > 1 and fractions[-1] == fractions[-2]:  # nothing was cut in the last step
        axes.plot(positions[-1:], after[-1:], "*", color=BLUE, markersize=12, label="final recovery", zorder=4)


def _add_legend(axes: Axes) -> None:
    """Above the axes, beside the title, where no curve can pass."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 0.99),
        ncols=4,
        borderpad=0,
        columnspacing=1.4,
        handletextpad=0.5,
        fontsize=9,
    )


def _percent(history: History, name: str) -> list[float]:
    return [100 * value if math.isfinite(value) else math.nan for value in history.column(name)]
