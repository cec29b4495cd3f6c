"""Parallel coordinates of what a sweep changed and what came of it: an axis for each, a line for each run.

Drawn as ordinary lines, so that one can hover and click them, and so that no WebGL is needed. Knows settings and rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from pruning_lab.tasks.report.looks import looks
from pruning_lab.tasks.report.page.plots import Json, Plot, base_layout, color_of, run_text
from pruning_lab.tasks.report.study_methods import ABSENT
from pruning_lab.tasks.report.study_rows import StudyRow
from pruning_lab.tasks.report.study_summary import Comparison
from pruning_lab.tasks.report.study_tables import SPLIT_NAMES

MOST_AXES = 14
MOST_WORDS = 24
"""Values of an axis of words; a setting with more tells runs apart, and nothing else."""
AXIS_WIDTH = 128
"""Pixels that an axis needs with the names of its values."""


@dataclass(frozen=True)
class _Axis:
    """A name, and of each run the place in 0..1; ticks are (place, text)."""

    name: str
    places: Sequence[float]
    ticks: Sequence[tuple[float, str]]


def parallel(
    comparison: Comparison,
    settings: Sequence[Mapping[str, Hashable]],
    split: str,
    anchors: Mapping[str, str],
    name: str,
) -> Plot | None:
    """The plot; None where nothing was changed from run to run.

    Args:
        settings: of each row of the comparison, those that are not the same in all of them.
        anchors: folder of a run -> where its card is on the page.
    """
    changed = _changed(comparison, settings)
    if not changed:
        return None
    axes = [*changed[: MOST_AXES - 3], *_outcomes(comparison.rows, split)]
    drawn, traces = looks(comparison.methods), []
    for place, row in enumerate(comparison.rows):
        look = drawn[row.method]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": escape(row.method),
                "meta": row.method,
                "x": list(range(len(axes))),
                "y": [axis.places[place] for axis in axes],
                "text": [run_text(row, split)] * len(axes),
                "customdata": [anchors[row.folder]] * len(axes),
                "hovertemplate": "%{text}<extra></extra>",
                "line": {"color": color_of(look), "width": 2, "dash": "dot" if look.dashed else "solid"},
                "marker": {"size": 6, "color": color_of(look), "symbol": look.shape.symbol},
                "opacity": 0.8,
            }
        )
    return Plot(name, "What was changed, and what came of it", traces, _layout(axes), AXIS_WIDTH * len(axes))


def _changed(comparison: Comparison, settings: Sequence[Mapping[str, Hashable]]) -> list[_Axis]:
    """Method, budget and seed where there are several, and every other setting that differs."""
    rows = comparison.rows
    columns: dict[str, list[Any]] = {
        "method": [row.method for row in rows],
        "budget": [row.budget for row in rows],
        **{
            key: [own.get(key, ABSENT) for own in settings] for key in dict.fromkeys(k for own in settings for k in own)
        },
        "seed": [row.seed for row in rows],
    }
    order = {"method": list(comparison.methods), "budget": [budget.text for budget in comparison.budgets]}
    axes = [_axis(key, values, order.get(key)) for key, values in columns.items() if len(set(values)) > 1]
    return [axis for axis in axes if axis is not None]


def _outcomes(rows: Sequence[StudyRow], split: str) -> list[_Axis]:
    percents = {
        "FLOPs left, %": [100 * row.flops_fraction for row in rows],
        "latency left, %": [100 * row.latency_fraction for row in rows],
        f"{SPLIT_NAMES[split]} IoU, %": [100 * getattr(row, f"{split}_iou") for row in rows],
    }
    return [_numbers(name, [round(value, 2) for value in values]) for name, values in percents.items()]


def _axis(name: str, values: Sequence[Any], order: Sequence[Any] | None) -> _Axis | None:
    if order is None and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _numbers(name, values)
    known = list(order) if order is not None else sorted({str(value) for value in values})
    if len(known) > MOST_WORDS:
        return None
    places = {str(value): 1 - (place + 0.5) / len(known) for place, value in enumerate(known)}
    return _Axis(name, [places[str(value)] for value in values], [(at, text) for text, at in places.items()])


def _numbers(name: str, values: Sequence[float]) -> _Axis:
    low, high = min(values), max(values)
    room = (high - low) or 1.0
    distinct = sorted(set(values))
    shown = distinct if len(distinct) <= 5 else [low + room * part / 4 for part in range(5)]
    at = {value: 0.05 + 0.9 * (value - low) / room if high > low else 0.5 for value in (*values, *shown)}
    return _Axis(name, [at[value] for value in values], [(at[value], f"{value:.4g}") for value in shown])


def _layout(axes: Sequence[_Axis]) -> Json:
    layout = base_layout(380)
    last = len(axes) - 1
    hidden = {"showgrid": False, "zeroline": False, "showticklabels": False}
    layout["xaxis"] = {**hidden, "range": [-0.15, last + 0.75], "fixedrange": True}
    layout["yaxis"] = {**hidden, "range": [-0.03, 1.13], "fixedrange": True}
    layout["margin"] = {"l": 8, "r": 8, "t": 30, "b": 8}
    line = {"color": "var:quiet", "width": 1}
    layout["shapes"] = [
        {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "line": line, "layer": "below"}
        for place in range(len(axes))
    ]
    layout["annotations"] = [
        _text(place, 1.07, f"<b>{_short(axis.name)}</b>", "var:text", 0) for place, axis in enumerate(axes)
    ] + [_text(place, at, _short(text), "var:quiet", 6) for place, axis in enumerate(axes) for at, text in axis.ticks]
    return layout


def _text(x: float, y: float, text: str, color: str, shift: int) -> Json:
    return {
        "x": x,
        "y": y,
        "text": text,
        "showarrow": False,
        "xanchor": "left",
        "xshift": shift,
        "font": {"color": color, "size": 11},
        "bgcolor": "var:veil",
        "borderpad": 0,
    }


def _short(text: str) -> str:
    """The end of a long name, which is where settings differ."""
    return escape(text if len(text) <= 19 else f"…{text[-18:]}")
