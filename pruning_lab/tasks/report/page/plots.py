"""The interactive plots of a comparison, as Plotly's own plain data. Knows statistics; opens no run folder.

Colors are names such as `var:line3`, which the page's script looks up in its style sheet, so that plots are light or
dark with the page. All texts that a user may have named are escaped, because Plotly reads tags in them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from pruning_lab.lab.output import units
from pruning_lab.lab.output.figures import FRACTION_TICKS
from pruning_lab.lab.output.widths import LayerWidth
from pruning_lab.resources.table import spelled
from pruning_lab.tasks.report.looks import CONTROL, Look, looks
from pruning_lab.tasks.report.study_figures import COSTS
from pruning_lab.tasks.report.study_rows import StudyRow
from pruning_lab.tasks.report.study_summary import Cell, Comparison
from pruning_lab.tasks.report.study_tables import SPLIT_NAMES

Json = dict[str, Any]

ABOVE_ONE = (5.0, 3.0, 2.0, 1.5)
"""Ticks for a latency that grew."""

LAYER_HEIGHT, HEAD_HEIGHT = 17, 84
"""Of the plot of widths, in pixels."""


@dataclass(frozen=True)
class Plot:
    """A plot: its place on the page, Plotly's `data` and `layout`, and pixels below which it scrolls sideways."""

    name: str
    title: str
    data: list[Json]
    layout: Json
    least_width: int = 0


def pareto(comparison: Comparison, cost: str, split: str, anchors: Mapping[str, str], name: str) -> Plot:
    """IoU over what is left of a cost: a point for every run, mean and deviation over seeds, and the Pareto front.

    Args:
        cost: `flops`, `weights` or `latency`.
        anchors: folder of a run -> where its card is on the page.
    """
    drawn = looks(comparison.methods)
    traces = [_front(comparison, cost, split)]
    for method in comparison.methods:
        traces += [
            _runs(comparison, method, cost, split, drawn[method], anchors),
            _means(comparison, method, cost, split, drawn[method], anchors),
        ]
    base = 100 * getattr(comparison.rows[0], f"base_{split}_iou")
    return Plot(name, f"IoU over {COSTS[cost]}", traces, _pareto_layout(comparison, cost, split, base))


def widths(runs: Mapping[str, Sequence[LayerWidth]], name: str, title: str) -> Plot | None:
    """A heat map of layers and methods: the share of a layer's filters that is left.

    Args:
        runs: heading -> widths, the winner first; None is returned if no run tells any.
    """
    layers = list(dict.fromkeys(layer.layer for found in runs.values() for layer in found))
    if not layers:
        return None
    by_name = {heading: {layer.layer: layer for layer in found} for heading, found in runs.items()}
    cells = [[by_name[heading].get(layer) for heading in runs] for layer in layers]
    headings, names = [escape(heading) for heading in runs], [escape(layer) for layer in layers]
    trace = {
        "type": "heatmap",
        "x": headings,
        "y": names,
        "z": [[None if cell is None else 100 * cell.fraction for cell in row] for row in cells],
        "text": [["" if cell is None else _width_text(cell) for cell in row] for row in cells],
        "hovertemplate": "%{y}, %{x}<br>%{text}<extra></extra>",
        "colorscale": "Cividis",
        "zmin": 0,
        "zmax": 100,
        "xgap": 2,
        "ygap": 1,
        "colorbar": {"ticksuffix": " %", "thickness": 12, "outlinewidth": 0},
    }
    layout = base_layout(HEAD_HEIGHT + LAYER_HEIGHT * len(layers))
    layout["xaxis"] = {"type": "category", "side": "top", "showgrid": False, "automargin": True}
    layout["yaxis"] = {"type": "category", "autorange": "reversed", "showgrid": False, "automargin": True, "dtick": 1}
    layout["xaxis"]["tickangle"] = -35 if len(runs) > 3 else 0
    layout["margin"] = {"l": 48, "r": 14, "t": 50, "b": 8}
    return Plot(name, title, [trace], layout, 220 + 46 * len(runs))


def run_text(row: StudyRow, split: str) -> str:
    """What a point tells of its run, in Plotly's tags."""
    lines = [
        f"<b>{escape(row.method)}</b>, {escape(row.budget)}, seed {row.seed}{'' if row.met else ', budget NOT met'}",
        f"{SPLIT_NAMES[split]} IoU {units.percent(getattr(row, f'{split}_iou'), 2)}",
        f"{units.percent(row.flops_fraction)} of FLOPs, {units.percent(row.weights_fraction)} of weights",
        f"{units.milliseconds(row.latency_fraction * row.base_latency_ms)} ({units.percent(row.latency_fraction)})",
        "click: its card",
    ]
    return "<br>".join(lines)


def color_of(look: Look) -> str:
    """The name of a method's color on the page."""
    return "var:control" if look.place == CONTROL else f"var:line{look.place}"


def base_layout(height: int) -> Json:
    """What all plots share; the height is in pixels."""
    return {
        "height": height,
        "autosize": True,
        "showlegend": False,
        "margin": {"l": 48, "r": 14, "t": 30, "b": 46},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "var:quiet", "activecolor": "var:text"},
        "font": {"color": "var:text", "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {
            "bgcolor": "var:card",
            "bordercolor": "var:rule",
            "font": {"color": "var:text"},
            "align": "left",
        },
        "hovermode": "closest",
    }


def _axis(**more: Any) -> Json:
    return {"gridcolor": "var:rule", "linecolor": "var:rule", "zeroline": False, "automargin": True, **more}


def _pareto_layout(comparison: Comparison, cost: str, split: str, base: float) -> Json:
    fractions = [getattr(row, f"{cost}_fraction") for row in comparison.rows]
    high, low = max(fractions) * 1.15, min(fractions) / 1.15
    ticks = _apart([tick for tick in (*ABOVE_ONE, *FRACTION_TICKS) if low <= tick <= high], math.log(high / low) / 8)
    layout = base_layout(360)
    layout["xaxis"] = _axis(
        type="log",
        range=[math.log10(100 * high), math.log10(100 * low)],
        tickangle=0,
        tickvals=[100 * tick for tick in ticks],
        ticktext=[f"{100 * tick:g} %" for tick in ticks],
        title={"text": f"{COSTS[cost]} left, of the base's (logarithmic)"},
    )
    layout["yaxis"] = _axis(ticksuffix=" %", title={"text": f"{SPLIT_NAMES[split]} IoU"})
    line = {"color": "var:quiet", "width": 1, "dash": "dash"}
    layout["shapes"] = [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": base, "y1": base, "line": line}]
    layout["annotations"] = [
        {
            "xref": "paper",
            "x": 1,
            "y": base,
            "xanchor": "right",
            "yanchor": "bottom",
            "text": f"base {base:.1f} %",
            "showarrow": False,
            "font": {"color": "var:quiet", "size": 11},
        }
    ]
    return layout


def _apart(ticks: Sequence[float], least: float) -> list[float]:
    """Of falling numbers, those that leave so much room between their logarithms."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or math.log(kept[-1] / tick) >= least:
            kept.append(tick)
    return kept


def _runs(comparison: Comparison, method: str, cost: str, split: str, look: Look, anchors: Mapping[str, str]) -> Json:
    rows = [row for row in comparison.rows if row.method == method]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(method),
        "meta": method,
        "x": [100 * getattr(row, f"{cost}_fraction") for row in rows],
        "y": [100 * getattr(row, f"{split}_iou") for row in rows],
        "text": [run_text(row, split) for row in rows],
        "customdata": [anchors[row.folder] for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
        "opacity": 0.55,
        "marker": {"size": 7, "color": color_of(look), "symbol": look.shape.symbol + ("-open" if look.hollow else "")},
    }


def _means(comparison: Comparison, method: str, cost: str, split: str, look: Look, anchors: Mapping[str, str]) -> Json:
    """Clicking a mean leads to the run nearest to it."""
    cells = [cell for budget in comparison.budgets if (cell := comparison.cells.get((method, budget.text)))]
    cells.sort(key=lambda cell: -getattr(cell, f"{cost}_fraction"))
    scores = [cell.iou(split) for cell in cells]
    spread = [0.0 if math.isnan(std) else 100 * std for _, std in scores]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escape(method),
        "meta": method,
        "x": [100 * getattr(cell, f"{cost}_fraction") for cell in cells],
        "y": [100 * mean for mean, _ in scores],
        "error_y": {"type": "data", "array": spread, "color": color_of(look), "thickness": 1.2, "width": 3},
        "text": [_mean_text(cell, split) for cell in cells],
        "customdata": [anchors[nearest(comparison, cell, split).folder] for cell in cells],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": color_of(look), "width": 1.6, "dash": "dot" if look.dashed else "solid"},
        "marker": {"size": 10, "color": color_of(look), "symbol": look.shape.symbol + ("-open" if look.hollow else "")},
    }


def nearest(comparison: Comparison, cell: Cell, split: str) -> StudyRow:
    """The run of a cell whose score is the nearest to the mean."""
    mean, _ = cell.iou(split)
    rows = [row for row in comparison.rows if (row.method, row.budget) == (cell.method, cell.budget)]
    return min(rows, key=lambda row: (abs(getattr(row, f"{split}_iou") - mean), row.seed))


def _mean_text(cell: Cell, split: str) -> str:
    mean, std = cell.iou(split)
    spread = "" if math.isnan(std) else f" ± {100 * std:.2f}"
    over = "1 run" if cell.runs == 1 else f"mean of {cell.runs} runs"
    return (
        f"<b>{escape(cell.method)}</b>, {escape(cell.budget)}<br>{SPLIT_NAMES[split]} IoU {100 * mean:.2f}{spread} %, "
        f"{over}<br>{units.percent(cell.flops_fraction)} of FLOPs, {units.percent(cell.weights_fraction)} of weights, "
        f"{units.percent(cell.latency_fraction)} of {spelled('latency')}<br>click: the run nearest to the mean"
    )


def _front(comparison: Comparison, cost: str, split: str) -> Json:
    """The means that no other mean beats in both score and cost, joined."""
    points = sorted((getattr(cell, f"{cost}_fraction"), cell.iou(split)[0]) for cell in comparison.cells.values())
    front = pareto_front(points)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "Pareto front",
        "x": [100 * fraction for fraction, _ in front],
        "y": [100 * score for _, score in front],
        "line": {"color": "var:front", "width": 7},
        "marker": {"color": "var:front", "size": 18},
        "hoverinfo": "skip",
    }


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of points (cost, score) those that no other point beats: none costs less and scores as much."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def _width_text(layer: LayerWidth) -> str:
    told = f"{layer.left} of {layer.filters} filters ({units.percent(layer.fraction, 0)})"
    told += "" if layer.floor is None else f", floor {layer.floor}"
    return told + (f", frozen: {escape(layer.frozen)}" if layer.frozen else "")
