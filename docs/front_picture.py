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

from pruning_lab.lab.output.palette import BLUE, DARK, GREEN, GREY, ORANGE, VERMILION, drawing

DOCS = Path(__file__).parent
STUDY, PICTURE = DOCS / "study.md", DOCS / "figures" / "front.svg"
SHOWN = {
    "steady_taylor": ("pruning_lab, steady_taylor", BLUE, "o-"),
    "peer_taylor": ("Torch-Pruning, Taylor", VERMILION, "s-"),
    "peer_magnitude": ("Torch-Pruning, magnitude", ORANGE, "D-"),
    "uniform": ("all layers alike", GREEN, "^--"),
    "random": ("random filters", GREY, "v--"),
}
"""Method -> its name in the legend, color and style."""
ABOUT = {"eyes_tested": "Drawn eyes, 4 classes", "nuclei": "Nuclei, 2 classes"}


@dataclass(frozen=True)
class Table:
    """One data set of the study: test IoU in percent.

    Attributes:
        curves: method -> [(percent of FLOPs, mean, standard deviation), ...].
    """

    data: str
    base: float
    curves: dict[str, list[tuple[float, float, float]]]


def read_tables(page: str) -> list[Table]:
    """The tables of the study's page, in its order."""
    tables = []
    for part in page.split("\n### ")[1:]:
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
        budgets = {i: float(cell.split()[0]) for i, cell in enumerate(rows[0]) if cell.endswith("% FLOPs")}
        curves = {}
        for row in rows[2:]:
            if row[0] in SHOWN:
                numbers = ((budget, re.findall(r"\d+\.\d+", row[i])) for i, budget in budgets.items())
                curves[row[0]] = [(budget, float(found[0]), float(found[1])) for budget, found in numbers]
        base = re.search(r"has (\d+\.\d+) at", part)
        assert base is not None, "the study names the base's IoU in front of every table"
        tables.append(Table(part.partition(",")[0], float(base[1]), curves))
    return tables


def described(tables: list[Table]) -> str:
    """Every point of the picture in words."""
    curves = [(table, name, points) for table in tables for name, points in table.curves.items()]
    return "; ".join(
        f"{table.data}, base {table.base}, {name}: " + ", ".join(f"{b:g} % {mean} ± {std}" for b, mean, std in points)
        for table, name, points in curves
    )


def draw(tables: list[Table], path: Path) -> Path:
    """The picture: a panel for each data set, a line for each method."""
    quiet = {"svg.fonttype": "none", "svg.hashsalt": "front", "font.family": "sans-serif"}
    with drawing(path, 9.0, 3.4) as figure:
        panels = figure.subplots(1, len(tables))
        for axes, table in zip(panels, tables, strict=True):
            _panel(axes, table)
        panels[0].set_ylabel("test IoU, %")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    # Once more, with letters as text and without a date, so that the file is small and says what it shows.
    with mpl.rc_context(quiet):
        figure.savefig(path, metadata={"Date": None, "Creator": None, "Description": described(tables)})
    return path


def _panel(axes: Axes, table: Table) -> None:
    axes.axhline(table.base, color=DARK, linewidth=1.0, linestyle=(0, (4, 3)), label="the base, unpruned")
    shift = dict(zip(SHOWN, (0.94, 0.97, 1.0, 1.03, 1.06), strict=True))
    for method, points in table.curves.items():
        name, color, style = SHOWN[method]
        left, mean, deviation = zip(*points, strict=True)
        places = [shift[method] * value for value in left]
        axes.errorbar(places, mean, yerr=deviation, fmt=style, color=color, label=name, elinewidth=0.8, capsize=2)
    axes.set_xscale("log")
    axes.set_xlim(60, 4.2)
    budgets = [budget for budget, _, _ in next(iter(table.curves.values()))]
    axes.set_xticks(budgets, [f"{budget:g} %" for budget in budgets])
    axes.minorticks_off()
    axes.set_xlabel("FLOPs left")
    axes.set_title(ABOUT.get(table.data, table.data))


def main(arguments: list[str] | None = None) -> int:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description="Draw the front page's picture from the tables of docs/study.md.")
    parser.add_argument("--into", type=Path, default=PICTURE, help="by default docs/figures/front.svg")
    draw(read_tables(STUDY.read_text(encoding="utf-8")), parser.parse_args(arguments).into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
