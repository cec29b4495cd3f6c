"""Colors that any color vision can tell apart, and the look that all figures share. Knows no data."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pruning_lab.common.files import write_atomically

# The palette of Okabe and Ito (2008), "Color Universal Design".
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT, DARK = "#6B6B6B", "#D9D9D9", "#262626"

# Class 0 is the background in nearly every data set: dark, so that the others stand out.
CLASS_COLORS = (DARK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE)
IGNORED_COLOR = "#BDBDBD"

# Ten lines beside each other, and a random control's gray. A search found them: the least CIEDE2000 between any two of
# the eleven is as large as it could make it, for normal vision and for full protanopia, deuteranopia and tritanopia
# (after Machado, Oliveira and Fernandes, 2009), where each has a contrast of 2 at least with a white page.
# tests/lab/output/test_palette.py measures this.
METHOD_COLORS = (
    "#481FE5",
    "#E4240D",
    "#3CA86A",
    "#A9BF14",
    "#E4A7B4",
    "#336950",
    "#7374F8",
    "#A0001C",
    "#BA9CD2",
    "#684971",
)
CONTROL_COLOR = "#808080"

WHITENED = 0.15
"""How far colors go towards white on a dark page."""

DOTS_PER_INCH = 150
ABOUT_SIZE = 8
"""Points of the line that names a figure's run."""

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": DARK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT,
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": DARK,
    "ytick.labelcolor": DARK,
    "legend.frameon": False,
    # Names are the user's own: a dollar sign in one is no formula.
    "text.parse_math": False,
    # Outlines that journals accept, where the default is bitmap-like Type 3.
    "pdf.fonttype": 42,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


@contextmanager
def drawing(path: Path, width: float, height: float, about: str = "", formats: Sequence[str] = ()) -> Iterator[Figure]:
    """A figure of `width` x `height` inches in the lab's style, written to `path` when the block ends.

    Args:
        about: what run it is of; stands above all else, and the figure grows by as much.
        formats: further suffixes under which it is written as well, such as `pdf`.
    """
    lines = textwrap.wrap(about, max(20, int(width * 72 / (0.5 * ABOUT_SIZE)))) if about else []
    head = (0.06 + len(lines) * 1.35 * ABOUT_SIZE / 72) if lines else 0.0
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height + head), dpi=DOTS_PER_INCH, layout="constrained")
        if lines:
            figure.get_layout_engine().set(rect=(0, 0, 1, height / (height + head)))  # type: ignore[union-attr, call-arg]
            place = (0.05 / width, 1 - 0.05 / (height + head))
            figure.text(*place, "\n".join(lines), va="top", fontsize=ABOUT_SIZE, color=GREY)
        yield figure
        for each in (Path(path), *(Path(path).with_suffix(f".{suffix}") for suffix in formats)):
            content = io.BytesIO()
            figure.savefig(content, format=each.suffix.lstrip("."))
            write_atomically(each, content.getvalue())


def lightened(color: str) -> str:
    """A color as it is on a dark page."""
    red, green, blue = ((1 - WHITENED) * part + WHITENED for part in mpl.colors.to_rgb(color))
    return mpl.colors.to_hex((red, green, blue))


def line_colors(number: int) -> list[str]:
    """A color for each of some lines on a white page; past ten they are the color wheel's."""
    if number <= len(METHOD_COLORS):
        return list(METHOD_COLORS[:number])
    return [mpl.colors.to_hex(tuple(color)) for color in _wheel(number)]


def class_colors(number: int) -> NDArray[np.uint8]:
    """RGB of each class, uint8 [number + 1, 3]; the last row is the color of ignored pixels.

    Past eight classes the hues go round the color wheel in turns of two lightnesses.
    """
    chosen = [*CLASS_COLORS, *_wheel(max(number - len(CLASS_COLORS), 1))][:number]
    rgb = np.array([mpl.colors.to_rgb(color) for color in (*chosen, IGNORED_COLOR)])
    return (rgb * 255).round().astype(np.uint8)


def _wheel(number: int) -> NDArray[np.float64]:
    """RGBA around the color wheel in turns of two lightnesses, float64 [number, 4]."""
    wheel: NDArray[np.float64] = mpl.colormaps["hsv"](np.linspace(0, 1, number, endpoint=False))
    wheel[1::2, :3] *= 0.55
    return wheel


DARK_METHOD_COLORS = tuple(lightened(color) for color in METHOD_COLORS)
