"""Colors that any color vision can tell apart, and the look that all figures share. Knows no data."""

import io
from collections.abc import Iterator
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

DOTS_PER_INCH = 150

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
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


@contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of `width` x `height` inches in the lab's style, written to `path` when the block ends."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
        yield figure
        content = io.BytesIO()
        figure.savefig(content, format=Path(path).suffix.lstrip("."))
        write_atomically(path, content.getvalue())


def class_colors(number: int) -> NDArray[np.uint8]:
    """RGB of each class, uint8 [number + 1, 3]; the last row is the color of ignored pixels.

    Past eight classes the hues go round the color wheel in turns of two lightnesses.
    """
    wheel = mpl.colormaps["hsv"](np.linspace(0, 1, max(number - len(CLASS_COLORS), 1), endpoint=False))
    wheel[1::2, :3] *= 0.55
    chosen = [*CLASS_COLORS, *wheel][:number]
    rgb = np.array([mpl.colors.to_rgb(color) for color in (*chosen, IGNORED_COLOR)])
    return (rgb * 255).round().astype(np.uint8)
