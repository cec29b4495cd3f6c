"""Web pages of one file: templates in which everything is escaped, style and pictures inside. Knows no run."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pruning_lab.lab.output import units
from pruning_lab.lab.output.palette import DARK_METHOD_COLORS, METHOD_COLORS

TEMPLATES = Path(__file__).parent / "templates"

MEDIA = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".csv": "text/csv",
    ".tex": "application/x-tex",
}


def render(template: str, folder: Path = TEMPLATES, **content: Any) -> str:
    """The text of a page. What a template is given is escaped, unless it is `Markup`.

    Args:
        folder: where the template is; it may include those of this module as well.
    """
    return _environment(folder).get_template(template).render(content)


def data_uri(content: bytes, media: str) -> str:
    """A file as an address that holds it, so that a page needs no other file."""
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"


def file_uri(path: Path) -> str:
    """The same of a file on disk, whose kind its suffix tells."""
    return data_uri(path.read_bytes(), MEDIA[path.suffix])


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(list(dict.fromkeys((folder, TEMPLATES)))),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": units.percent, "count": units.count, "milliseconds": units.milliseconds}
    environment.globals["style"] = _style()
    return environment


def _style() -> Markup:
    """The style sheet, with the colors of lines as variables, lighter on a dark page."""
    light, dark = (
        "".join(f"--line{place}:{color};" for place, color in enumerate(colors))
        for colors in (METHOD_COLORS, DARK_METHOD_COLORS)
    )
    colors = f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    return Markup(colors + (TEMPLATES / "style.css").read_text(encoding="utf-8"))
