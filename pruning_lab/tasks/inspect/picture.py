"""A picture of who reads whom: layers as boxes in the order in which they run, reads that jump as arcs beside them.

Draws the facts of an inspection; runs no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch, PathPatch, Rectangle
from matplotlib.path import Path as Curve

from pruning_lab.lab.output import units
from pruning_lab.lab.output.palette import BLUE, DARK, GREEN, GREY, LIGHT, PURPLE, SKY, VERMILION, drawing
from pruning_lab.tasks.inspect.facts import ConsumerFacts, Inspection, LayerFacts, Runs
from pruning_lab.tasks.inspect.tables import runs_text

# All lengths are inches.
LOWEST_BOX, HIGHEST_BOX, GAP = 0.15, 0.52, 0.11
NARROWEST_BOX, WIDEST_BOX = 0.12, 2.3
ARCS, NUMBERS, LETTER, HEAD, MARGIN = 2.6, 1.0, 0.075, 0.95, 0.15
HIGHEST_PICTURE = 200.0

LABELLED_ARCS = 24
"""Up to so many arcs, each tells the channels as which it arrives; more would cover each other."""

OUTPUT = "feeds the model's output"


@dataclass(frozen=True)
class _Box:
    """Where a layer stands: the middle of its box, y growing upwards, and the box's size."""

    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.width / 2


def channel_graph(facts: Inspection, path: Path) -> Path:
    """Draw a model's layers and reads.

    A box is as wide as the square root of the layer's MACs and as high as that of its weights. Reads of the next layer
    are arrows, all others arcs: concatenated where their channels are theirs alone, added where other layers
    arrive at the same channels.
    """
    boxes = _places(facts.layers)
    lowest = min((box.y - box.height / 2 for box in boxes.values()), default=0.0)
    names = max((len(layer.name) for layer in facts.layers), default=0) * LETTER
    left = -(WIDEST_BOX / 2 + NUMBERS + names + MARGIN)
    right = WIDEST_BOX / 2 + ARCS
    height = HEAD - lowest + MARGIN
    scale = min(1.0, HIGHEST_PICTURE / height)
    with drawing(path, scale * (right - left), scale * height) as figure:
        figure.set_layout_engine("none")  # the axes fill the picture, so that lengths are inches
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(left, right)
        axes.set_ylim(lowest - MARGIN, HEAD)
        _draw_head(axes, facts, left + MARGIN, right - MARGIN, scale)
        _draw_reads(axes, facts, boxes, scale)
        for layer in facts.layers:
            _draw_layer(axes, layer, boxes[layer.name], scale)
    return path


def joined(reads: Sequence[ConsumerFacts]) -> Iterator[tuple[ConsumerFacts, str]]:
    """Each read, and how it comes together with others of the same consumer: `alone`, `concatenated` or `added`."""
    by_consumer: dict[str, list[ConsumerFacts]] = {}
    for read in reads:
        by_consumer.setdefault(read.consumer, []).append(read)
    for read in reads:
        others = [other for other in by_consumer[read.consumer] if other is not read]
        if not others:
            yield read, "alone"
        elif any(_overlap(read.channels, other.channels) for other in others):
            yield read, "added"
        else:
            yield read, "concatenated"


def _overlap(some: Runs, others: Runs) -> bool:
    return any(a <= d and c <= b for a, b in some for c, d in others)


def _places(layers: Sequence[LayerFacts]) -> dict[str, _Box]:
    most_macs = max((layer.macs for layer in layers), default=0) or 1
    most_weights = max((layer.weights for layer in layers), default=0) or 1
    boxes, top = {}, 0.0
    for layer in layers:
        width = NARROWEST_BOX + (WIDEST_BOX - NARROWEST_BOX) * (layer.macs / most_macs) ** 0.5
        height = LOWEST_BOX + (HIGHEST_BOX - LOWEST_BOX) * (layer.weights / most_weights) ** 0.5
        boxes[layer.name] = _Box(top - height / 2, width, height)
        top -= height + GAP
    return boxes


def _draw_layer(axes: Axes, layer: LayerFacts, box: _Box, scale: float) -> None:
    fill, edge = _colors(layer)
    corner = (-box.width / 2, box.y - box.height / 2)
    axes.add_patch(
        Rectangle(corner, box.width, box.height, facecolor=fill, edgecolor=edge, linewidth=0.8 * scale, zorder=3)
    )
    numbers = f"{layer.filters}  {units.percent(layer.macs_share):>7}"
    at: dict[str, Any] = {"va": "center", "ha": "right", "zorder": 4}
    side = -WIDEST_BOX / 2 - 0.1
    axes.text(side, box.y, numbers, color=GREY, fontsize=7.5 * scale, **at)
    axes.text(side - NUMBERS + 0.1, box.y, layer.name, color=DARK, fontsize=8.5 * scale, **at)


def _colors(layer: LayerFacts) -> tuple[str, str]:
    """Fill and edge."""
    if layer.prunable_filters == layer.filters:
        return SKY, BLUE
    if OUTPUT in layer.frozen:
        return VERMILION, VERMILION
    return (LIGHT, GREY) if layer.prunable_filters == 0 else (LIGHT, BLUE)


def _draw_reads(axes: Axes, facts: Inspection, boxes: dict[str, _Box], scale: float) -> None:
    order = {layer.name: place for place, layer in enumerate(facts.layers)}
    known = [(read, how) for read, how in joined(facts.reads) if read.consumer in order]
    jumps = [(read, how) for read, how in known if order[read.consumer] - order[read.layer] != 1]
    for read, how in known:
        source, target = boxes[read.layer], boxes[read.consumer]
        follows = order[read.consumer] - order[read.layer] == 1
        if follows:
            _draw_arrow(axes, source, target, _ARC_COLORS[how], scale)
        if how == "concatenated" and len(jumps) <= LABELLED_ARCS:
            at = (0.06, target.y + target.height / 2) if follows else (target.right + 0.1, target.y)
            _label(axes, *at, runs_text(read.channels), scale)
    furthest = max((abs(boxes[read.layer].y - boxes[read.consumer].y) for read, _ in jumps), default=1.0)
    strength = min(0.9, max(0.22, 60 / max(len(jumps), 1)))
    for read, how in jumps:
        source, target = boxes[read.layer], boxes[read.consumer]
        bulge = 0.15 + (ARCS - 0.4) * (abs(source.y - target.y) / furthest) ** 0.75
        passed = max(box.right for box in boxes.values() if target.y <= box.y <= source.y)
        _draw_arc(
            axes, source, target, min(passed + bulge, WIDEST_BOX / 2 + ARCS - 0.2), _ARC_COLORS[how], strength, scale
        )


_ARC_COLORS = {"alone": GREY, "concatenated": GREEN, "added": PURPLE}


def _draw_arrow(axes: Axes, source: _Box, target: _Box, color: str, scale: float) -> None:
    start, end = (0.0, source.y - source.height / 2), (0.0, target.y + target.height / 2)
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=5 * scale,
            shrinkA=0,
            shrinkB=0,
            color=color,
            linewidth=0.9 * scale,
            zorder=2,
        )
    )


def _draw_arc(
    axes: Axes, source: _Box, target: _Box, furthest: float, color: str, strength: float, scale: float
) -> None:
    """`furthest` is how far to the right the arc goes."""
    apex = (furthest - (source.right + target.right) / 8) / 0.75  # where a cubic's two inner points must be for that
    corners = [(source.right, source.y), (apex, source.y), (apex, target.y), (target.right, target.y)]
    curve = Curve(corners, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=color, alpha=strength, linewidth=1.1 * scale, zorder=1))
    axes.plot(
        target.right + 0.03, target.y, marker="<", markersize=3.2 * scale, color=color, markeredgewidth=0, zorder=4
    )


def _label(axes: Axes, x: float, y: float, text: str, scale: float) -> None:
    """As which channels a read arrives, above its end."""
    axes.text(x, y + 0.01, text, color=GREEN, fontsize=6.5 * scale, ha="left", va="bottom", zorder=4)


def _draw_head(axes: Axes, facts: Inspection, left: float, right: float, scale: float) -> None:
    shape = " x ".join(map(str, facts.input_shape))
    title = f"{facts.model} on {shape}: {units.count(facts.macs)} MACs, {units.count(facts.weights)} weights"
    axes.text(left, HEAD - 0.14, title, fontsize=11 * scale, fontweight="bold", va="top")
    told = "layer, filters, share of MACs; a box is as wide as its MACs and as high as its weights (square roots)"
    axes.text(left, HEAD - 0.38, told, fontsize=8 * scale, color=GREY, va="top")
    handles = [
        Patch(facecolor=SKY, edgecolor=BLUE, label="prunable"),
        Patch(facecolor=LIGHT, edgecolor=BLUE, label="in part"),
        Patch(facecolor=LIGHT, edgecolor=GREY, label="frozen"),
        Patch(facecolor=VERMILION, label="output"),
        *(Line2D([], [], color=_ARC_COLORS[how], label=how) for how in ("concatenated", "added")),
    ]
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left, HEAD - 0.58),
        bbox_transform=axes.transData,
        ncols=len(handles),
        fontsize=8 * scale,
        handlelength=1.2,
        columnspacing=1.2,
        borderpad=0,
        borderaxespad=0,
    )
