"""Draws the picture of the front page from the tables of docs/study.md: `python -m docs.front_picture`.

Trains nothing: every point stands in the page, and the picture says in its description which points it shows.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from pruning_lab.lab.output.palette import BLUE, DARK, GREY, ORANGE, VERMILION, drawing

DOCS = Path(__file__).parent
STUDY, PICTURE = DOCS / "study.md", DOCS / "figures" / "front.svg"
MARKERS = ("<!-- healing:start -->", "<!-- healing:end -->")
SHOWN = {
    ("reconstruction", "least_squares"): ("pruning_lab: reconstruction, least squares", BLUE, "o-"),
    ("random", "least_squares"): ("random filters, least squares", GREY, "v--"),
    ("peer_taylor", "norms"): ("Torch-Pruning, Taylor, norms anew", VERMILION, "s-"),
    ("peer_magnitude", "norms"): ("Torch-Pruning, magnitude, norms anew", ORANGE, "D-"),
}
"""(method, compensation) -> its name in the legend, color and style."""
ROWS = {"1 epoch": "one epoch at the end", "full": "recovery after each cut"}
"""Healing of the study -> how the picture calls it, a row of panels each."""
ABOUT = {"eyes": "Drawn eyes, 4 classes", "fields": "Drawn land, 6 classes", "nuclei": "Nuclei, 2 classes"}

Point = tuple[float, float, float]
"""(percent of FLOPs, mean, standard deviation or 0 of one seed)."""


@dataclass(frozen=True)
class Table:
    """One data set with one kind of healing: test IoU in percent.

    Attributes:
        curves: (method, compensation) -> points.
    """

    data: str
    healing: str
    base: float
    curves: dict[tuple[str, str], list[Point]]


def read_tables(page: str) -> list[Table]:
    """The tables of healing of the study's page that the picture shows, in the page's order."""
    tables = []
    text = page.partition(MARKERS[0])[2].partition(MARKERS[1])[0]
    for part in text.split("\n### ")[1:]:
        base = re.search(r"the base has (\d+\.\d+)\.", part)
        if base is None:
            continue  # the comparison at the end
        for healed in part.split("\n**Healing: ")[1:]:
            healing = healed.partition("**")[0]
            if healing in ROWS:
                tables.append(Table(part.split()[0], healing, float(base[1]), _curves(healed)))
    return tables


def _curves(text: str) -> dict[tuple[str, str], list[Point]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    budgets = {place: float(cell.split()[0]) for place, cell in enumerate(rows[0]) if cell.endswith("% FLOPs")}
    found = {(row[0], row[1]): row for row in rows[2:]}
    return {key: [_point(budgets[place], found[key][place]) for place in budgets] for key in SHOWN if key in found}


def _point(budget: float, cell: str) -> Point:
    mean, deviation = [*(float(number) for number in re.findall(r"\d+\.\d+", cell)), 0.0][:2]
    return budget, mean, deviation


def described(tables: list[Table]) -> str:
    """Every point of the picture in words."""
    curves = [(table, key, points) for table in tables for key, points in table.curves.items()]
    return "; ".join(
        f"{table.data}, base {table.base}, {table.healing}, {' '.join(key)}: "
        + ", ".join(f"{budget:g} % {mean} ± {deviation}" for budget, mean, deviation in points)
        for table, key, points in curves
    )


def draw(tables: list[Table], path: Path) -> Path:
    """The picture: a column for each data set, a row for each kind of healing, a line for each method."""
    quiet = {"svg.fonttype": "none", "svg.hashsalt": "front", "font.family": "sans-serif"}
    columns = list(dict.fromkeys(table.data for table in tables))
    with drawing(path, 9.0, 5.4) as figure:
        panels = figure.subplots(len(ROWS), len(columns), squeeze=False, sharex=True)
        for table in tables:
            row, column = list(ROWS).index(table.healing), columns.index(table.data)
            _panel(panels[row][column], table, title=row == 0, left=column == 0, last=row == len(ROWS) - 1)
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    # Once more, with letters as text and without a date, so that the file is small and says what it shows.
    with mpl.rc_context(quiet):
        figure.savefig(path, metadata={"Date": None, "Creator": None, "Description": described(tables)})
    return path


def _panel(axes: Axes, table: Table, title: bool, left: bool, last: bool) -> None:
    axes.axhline(table.base, color=DARK, linewidth=1.0, linestyle=(0, (4, 3)), label="the base, unpruned")
    shift = dict(zip(SHOWN, (0.97, 0.99, 1.01, 1.03), strict=True))
    for key, points in table.curves.items():
        name, color, style = SHOWN[key]
        budgets, mean, deviation = zip(*points, strict=True)
        places = [shift[key] * value for value in budgets]
        axes.errorbar(
            places, mean, yerr=deviation, fmt=style, color=color, label=name, elinewidth=0.8, capsize=2, markersize=4
        )
    axes.set_xscale("log")
    axes.set_xlim(60, 4.2)
    ticks = [budget for budget, _, _ in next(iter(table.curves.values()))]
    axes.set_xticks(ticks, [f"{budget:g} %" for budget in ticks])
    axes.minorticks_off()
    if title:
        axes.set_title(ABOUT.get(table.data, table.data))
    if left:
        axes.set_ylabel(f"{ROWS[table.healing]}\ntest IoU, %")
    if last:
        axes.set_xlabel("FLOPs left")


def main(arguments: list[str] | None = None) -> int:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description="Draw the front page's picture from the tables of docs/study.md.")
    parser.add_argument("--into", type=Path, default=PICTURE, help="by default docs/figures/front.svg")
    draw(read_tables(STUDY.read_text(encoding="utf-8")), parser.parse_args(arguments).into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
