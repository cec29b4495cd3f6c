"""Small charts as SVG inside a page, which follow its colors and its width. Draws numbers; knows no run.

They take a millisecond each and a few kilobytes, so that every run can have a page with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 440, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 38
"""Of the drawing, in units of which 440 are its whole width."""

MOST_DOTS = 80
"""Points of a line up to which each is marked; more would cover each other, and make a page of many runs heavy."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """Points that belong together.

    Attributes:
        name: for the legend.
        points: (x, y); those that are not finite leave a gap.
        look: a name of the style sheet, `line0` to `line9`, or `quiet` for what others are compared with.
        joined: by a line; if not, hollow points.
    """

    name: str
    points: Sequence[Point]
    look: str
    joined: bool = True


@dataclass(frozen=True)
class Axis:
    """A direction of a chart: its name, how numbers are spelled, whether it is logarithmic, falling, of whole steps."""

    label: str
    spell: Callable[[float], str] = "{:g}".format
    log: bool = False
    falling: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Drawn:
    """A line as a template writes it: paths, and points with what they tell."""

    line: Line
    paths: list[str]
    dots: list[tuple[float, float, str]]


@dataclass(frozen=True)
class Chart:
    """A chart as a template writes it; ticks are (place, text)."""

    title: str
    x_label: str
    lines: list[Drawn]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def chart(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> Chart | None:
    """Place everything; None where no point is finite."""
    points = [point for line in lines for point in line.points if _finite(point)]
    if not points:
        return None
    across = _Scale(x, [point[0] for point in points], LEFT, WIDTH - RIGHT)
    up = _Scale(y, [point[1] for point in points], HEIGHT - BOTTOM, TOP)
    drawn = []
    for line in lines:
        known = [point for point in line.points if _finite(point)]
        marked = [] if line.joined and len(known) > MOST_DOTS else known
        dots = [(across(a), up(b), f"{line.name}: {y.spell(b)} at {x.spell(a)}") for a, b in marked]
        drawn.append(Drawn(line, _paths(line, across, up) if line.joined else [], dots))
    label = x.label + (" (logarithmic)" if x.log else "")
    title += " (logarithmic)" if y.log else ""
    return Chart(title, label, drawn, across.ticks(), up.ticks())


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most so many."""
    room = max(high - low, 1e-12)
    power = 10 ** math.floor(math.log10(room / most))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if room / (power * factor) <= most - 1)
    first = math.ceil(low / step - 1e-9)
    return [round(step * number, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


class _Scale:
    """From numbers to places on the drawing."""

    def __init__(self, axis: Axis, values: Sequence[float], start: float, end: float) -> None:
        self._axis, self._start, self._end = axis, start, end
        moved = [self._moved(value) for value in values]
        low, high = min(moved), max(moved)
        pad = 0.06 * (high - low) or (0.5 if axis.whole else 0.05 * abs(high) or 0.5)
        self._low, self._high = low - pad, high + pad

    def __call__(self, value: float) -> float:
        share = (self._moved(value) - self._low) / (self._high - self._low)
        share = 1 - share if self._axis.falling else share
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        if self._axis.log:
            low, high = 10**self._low, 10**self._high
            decades = range(math.floor(self._low) - 1, math.ceil(self._high) + 1)
            wanted = [factor * 10.0**decade for decade in decades for factor in (1, 1.5, 2, 3, 5, 7)]
            values = [value for value in wanted if low <= value <= high][:9]
            # A range this narrow holds few round factors.
            values = values if len(values) > 2 else nice_ticks(low, high)
        else:
            values = nice_ticks(self._low, self._high)
            values = [value for value in values if not self._axis.whole or value == int(value)]
        return [(self(value), self._axis.spell(value)) for value in values]

    def _moved(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self._axis.log else value


def _paths(line: Line, across: _Scale, up: _Scale) -> list[str]:
    """What is drawn without lifting the pen, for each stretch between gaps."""
    paths: list[list[str]] = [[]]
    for point in line.points:
        if _finite(point):
            paths[-1].append(f"{across(point[0])},{up(point[1])}")
        elif paths[-1]:
            paths.append([])
    return [" ".join(path) for path in paths if len(path) > 1]


def _finite(point: Point) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])
