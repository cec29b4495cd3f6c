"""How Sphinx builds the pages: `python -m sphinx -W docs outputs/site`. Imports the package for its docstrings."""

from __future__ import annotations

import inspect
import re
from typing import Any

from sphinx.application import Sphinx

from pruning_lab import __version__

project = "pruning_lab"
author = "the pruning_lab authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["examples"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints = "signature"
autodoc_type_aliases = {"Batches": "Batches", "FilterScores": "FilterScores", "Loss": "Loss", "StopRule": "StopRule"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "code"

html_theme = "furo"
html_title = f"pruning_lab {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False


def signs_mean_themselves(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with backticks: |a|, p*q and name_ in a formula are no markup of reStructuredText."""
    for index, line in enumerate(lines):
        parts = re.split(r"(`[^`]*`)", line)
        lines[index] = "".join(
            part if part.startswith("`") else re.sub(r"([|*]|_(?=\W|$))", r"\\\1", part) for part in parts
        )


def is_a_default(app: Sphinx, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """A function that is the default of a dataclass's field is no method of the class."""
    return True if what == "class" and inspect.isfunction(found) and "." not in found.__qualname__ else None


def setup(app: Sphinx) -> None:
    """Signs are freed before napoleon writes markup of its own."""
    app.connect("autodoc-process-docstring", signs_mean_themselves, priority=100)
    app.connect("autodoc-skip-member", is_a_default)
