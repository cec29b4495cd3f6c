"""A picture of how wide each layer is after each step, and what keeps it from being cut. Runs no model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pruning_lab.lab.output.palette import DARK, GREY, ORANGE, drawing


def layer_widths(
    widths: Sequence[Mapping[str, int]],
    path: Path,
    about: str = "",
    floors: Mapping[str, float] | None = None,
    frozen: Mapping[str, str] | None = None,
) -> Path:
    """Heat map, layers x steps: the fraction of a layer's filters that is left.

    Beside each layer stand its filters at the end and in the base, and its floor. A layer that can't be cut, or not all
    of it, is gray and says so; a dot marks the steps after which a layer is at its floor.

    Args:
        widths: filters of each layer at each step, the base's first.
        about: names the run.
        floors: layer -> filters that must stay.
        frozen: layer -> `frozen`, or what of it is.

    Raises:
        ValueError: `widths` is empty.
    """
    if not widths:
        raise ValueError("there are no widths to draw; the first entry is to be the base's")
    layers, floors, frozen = list(widths[0]), floors or {}, frozen or {}
    counts = np.array([[step[layer] for step in widths] for layer in layers], dtype=float)  # [layers, steps]
    with drawing(path, 8.6, 1.9 + 0.21 * len(layers), about) as figure:
        axes = figure.subplots()
        image = axes.imshow(counts / counts[:, :1], cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="none")
        axes.grid(visible=False)
        axes.set_title("Filters left per layer")
        axes.set_xlabel("pruning step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_yticks(range(len(layers)), layers, fontsize=8)
        ends = axes.secondary_yaxis("right")
        told = [_end(row, floors.get(layer), frozen.get(layer)) for layer, row in zip(layers, counts, strict=True)]
        ends.set_yticks(range(len(layers)), told, fontsize=8)
        for side in (axes, ends):
            side.tick_params(axis="y", length=0)
            side.spines[:].set_visible(False)
        for label, layer in zip(axes.get_yticklabels(), layers, strict=True):
            label.set_color(GREY if layer in frozen else DARK)
        _mark_floors(axes, counts, [floors.get(layer) for layer in layers])
        figure.colorbar(image, ax=axes, format=PercentFormatter(1.0, decimals=0), pad=0.02, fraction=0.04, aspect=30)
    return path


def _end(row: np.ndarray, floor: float | None, frozen: str | None) -> str:
    """`13 / 64, floor 7`, or `64, frozen`."""
    told = f"{row[-1]:.0f} / {row[0]:.0f}"
    if frozen is not None:
        return f"{told}, {frozen}"
    return told if floor is None else f"{told}, floor {math.ceil(floor)}"


def _mark_floors(axes: Axes, counts: np.ndarray, floors: Sequence[float | None]) -> None:
    """A dot where a layer that was cut can't lose another filter."""
    places = [
        (step, row)
        for row, floor in enumerate(floors)
        if floor is not None
        for step in range(counts.shape[1])
        if counts[row, step] < counts[row, 0] and counts[row, step] - 1 < floor
    ]
    if places:
        axes.plot(*zip(*places, strict=True), ".", color=ORANGE, markersize=4, linestyle="none")
        dot = Line2D([], [], color=ORANGE, marker=".", linestyle="none", label="at its floor")
        axes.legend(handles=[dot], loc="lower right", bbox_to_anchor=(1, 1), borderpad=0.1, fontsize=8)
