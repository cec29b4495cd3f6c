"""How each method of a comparison is drawn, the same in all figures and on the page. Knows names only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pruning_lab.lab.output.palette import CONTROL_COLOR, METHOD_COLORS
from pruning_lab.lab.output.run_folder import RANDOM_CONTROLS

CONTROL = -1
"""Stands for the color of random controls."""


@dataclass(frozen=True)
class Shape:
    """A marker, by its names in Matplotlib and in Plotly, and as a character, full and hollow."""

    marker: str
    symbol: str
    full: str
    hollow: str


SHAPES = (
    Shape("o", "circle", "●", "○"),
    Shape("s", "square", "■", "□"),
    Shape("D", "diamond", "◆", "◇"),
    Shape("^", "triangle-up", "▲", "△"),
    Shape("v", "triangle-down", "▼", "▽"),
    Shape("P", "cross", "✚", "✛"),
    Shape("X", "x", "✖", "✕"),
    Shape("<", "triangle-left", "◀", "◁"),
    Shape(">", "triangle-right", "▶", "▷"),
    Shape("p", "pentagon", "⬟", "⬠"),
)


@dataclass(frozen=True)
class Look:
    """`place` is that of the color in the palette, or `CONTROL`."""

    place: int
    shape: Shape
    hollow: bool = False
    dashed: bool = False

    @property
    def color(self) -> str:
        """On a white page."""
        return CONTROL_COLOR if self.place == CONTROL else METHOD_COLORS[self.place]

    @property
    def sign(self) -> str:
        """The marker as a character."""
        return self.shape.hollow if self.hollow else self.shape.full


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """By the order of names, so that a method's look does not hang on how it scores.

    Random controls are gray, hollow and dashed. Ten others differ in color and in marker; further ones have the same
    colors with other markers, every second turn hollow.
    """
    found, learned, controls = {}, 0, 0
    for method in sorted(methods):
        if method.partition(",")[0].partition(" ")[0] in RANDOM_CONTROLS:
            found[method] = Look(CONTROL, SHAPES[controls % len(SHAPES)], hollow=True, dashed=True)
            controls += 1
        else:
            turn = learned // len(METHOD_COLORS)
            shape = SHAPES[(learned + turn) % len(SHAPES)]
            found[method] = Look(learned % len(METHOD_COLORS), shape, hollow=turn % 2 == 1)
            learned += 1
    return found
