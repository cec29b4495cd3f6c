"""Writes docs/importance-options.md, the options of `importance` by what they are: `python -m docs.importance_options`.

Reads the YAML as text: the first line of each option says of which kind it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from docs.knobs import KIND, plain, read_option
from docs.written import write_page
from pruning_lab.tasks.config import conf_folder

PAGE = Path(__file__).parent / "importance-options.md"

KINDS = {
    "method": ("Methods", "Each looks at the network in its own way."),
    "control": ("Controls", "Look at no weight and no image: what a method has to beat."),
    "peer": ("Peers", "Another library's scores, for comparisons; they need the extra `dev`."),
    "wrapper": (
        "Wrappers",
        "Change or combine the scores of other methods, which stand in the option under `method` or `methods`.",
    ),
    "preset": ("Presets", "Wrappers and methods put together, each under a name."),
}
"""Kind -> heading, and what is common to its options."""


def kind_of(path: Path) -> str:
    """The kind that an option's first line names; empty where it names none."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix(KIND) if first.startswith(KIND) else ""


def render() -> str:
    """The page: a table for every kind."""
    options = sorted((conf_folder() / "importance").glob("*.yaml"))
    parts = [
        "# Options of `importance`",
        "",
        "`importance=NAME` chooses one. All have one contract, so that each works with every model, budget and data",
        "set; a function of your own is `importance=function`. [Which one to take](importance.md), and the options of",
        "each among [every knob](knobs.md#importance). `python -m docs.importance_options` writes this page.",
        "",
    ]
    for kind, (heading, about) in KINDS.items():
        parts += [f"## {heading}", "", about, "", "| option | what it does |", "|---|---|"]
        of_kind = [read_option(path) for path in options if kind_of(path) == kind]
        parts += [f"| `{option.name}` | {plain(option.about)} |" for option in of_kind]
        parts.append("")
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Write the page."""
    return write_page(render, PAGE, "Write the page of the options of importance.", arguments)


if __name__ == "__main__":
    sys.exit(main())
