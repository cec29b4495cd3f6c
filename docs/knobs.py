"""Writes docs/knobs.md, the page of every knob of conf/: `python -m docs.knobs`.

Reads the YAML as text, because what a knob means stands in the comment above it, or behind it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hydra.utils import get_method

from docs.written import write_page
from pruning_lab.tasks.config import conf_folder

SPECIAL = {"defaults", "_target_", "_partial_", "hydra"}
NOT_KNOBS = {"experiment", "debug", "hparams_search", "hydra"}
PAGE = Path(__file__).parent / "knobs.md"
OPENING = """# Every knob

Any of these can be set on the command line (`importance.omega=0.3`), in a YAML, or swept with `-m`. A key that does
not exist is an error that names it. Groups inside groups are placed with `@`: `optimizer@recovery.optimizer=sgd`,
`scheduler@base.scheduler=linear`, `promise@validation.promise=last`. `python -m docs.knobs` writes this page from the
comments in `conf/`.
"""
KIND = "# kind: "
"""Opens the line that says what sort of option a file is, where a group has several; see `docs.importance_options`."""
LINE = re.compile(r"^(?P<indent> *)(?P<dash>- )?(?P<key>[\w.]+|\"[^\"]*\"): ?(?P<value>.*)$")


@dataclass(frozen=True)
class Knob:
    """A key of an option: its path within the group, its default as the YAML spells it, and its meaning."""

    path: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Option:
    """One file of a group: what its opening comment says, and its knobs."""

    name: str
    about: str
    knobs: tuple[Knob, ...]


def read_option(path: Path) -> Option:
    """An option file's knobs, in their order."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(KIND)]
    opening = []
    for line in lines:
        if not line.startswith("#"):
            break
        opening.append(line.lstrip("# "))
    if opening and lines[len(opening) : len(opening) + 1] and not _opens_file(lines[len(opening)]):
        opening = []
    return Option(path.stem, " ".join(opening) or _told_by_target(lines), tuple(_knobs(lines)))


def _told_by_target(lines: list[str]) -> str:
    """The first sentence of what the option's `_target_` says of itself, if it is the project's own."""
    targets = [line.partition(": ")[2] for line in lines if line.startswith("_target_: pruning_lab.")]
    if not targets:
        return ""
    text = (inspect.getdoc(get_method(targets[0])) or "").partition("\n\n")[0]
    return " ".join(text.split())


def _opens_file(line: str) -> bool:
    """A comment above `defaults`, `_target_` or an empty line is about the whole file."""
    return line == "" or line.startswith(("defaults:", "_target_:"))


def _knobs(lines: list[str]) -> Iterator[Knob]:
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in lines:
        text = line.strip()
        if text.startswith("#"):
            comment.append(text.lstrip("# "))
            continue
        match = LINE.match(line)
        if not match:
            comment = []
            continue
        depth = len(match["indent"])
        parents = [parent for parent in parents if parent[0] < depth]
        value, _, behind = match["value"].partition(" #")
        path = ".".join([*(key for _, key in parents), match["key"]])
        if not SPECIAL & set(path.split(".")) and not match["dash"] and not any("-" in key for _, key in parents):
            meaning = " ".join([*comment, behind.strip()]).strip()
            if value.strip() or meaning:
                yield Knob(path, value.strip(), meaning)
        # What stands in a list has no path that the command line could set.
        parents.append((depth, "-" if match["dash"] else match["key"]))
        comment = []


def render() -> str:
    """The page: the top-level knobs, then a table for every group."""
    folder = conf_folder()
    top = read_option(folder / "config.yaml")
    parts = [OPENING, "## Top level", "", *_table(top.knobs), ""]
    for group in sorted(path for path in folder.rglob("*") if path.is_dir() and path.name not in NOT_KNOBS):
        options = [read_option(path) for path in sorted(group.glob("*.yaml"))]
        name = group.relative_to(folder).as_posix()
        parts += [f"## `{name}`", "", ", ".join(f"`{option.name}`" for option in options), ""]
        for option in options:
            parts += [f"### `{name}={option.name}`", ""]
            if option.about:
                parts += [plain(option.about), ""]
            if option.knobs:
                parts += [*_table(option.knobs), ""]
    return "\n".join(parts).rstrip() + "\n"


def _table(knobs: tuple[Knob, ...]) -> list[str]:
    rows = [f"| `{knob.path}` | {_code(knob.default)} | {plain(knob.meaning)} |" for knob in knobs]
    return ["| key | default | meaning |", "|---|---|---|", *rows]


def plain(text: str) -> str:
    """A comment of a YAML in a cell of Markdown: outside of backticks, signs mean themselves."""
    parts = text.split("`")
    return "`".join(part if index % 2 else re.sub(r"([*_<|\[\]])", r"\\\1", part) for index, part in enumerate(parts))


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def main(arguments: list[str] | None = None) -> int:
    """Write the page."""
    return write_page(render, PAGE, "Write the page of every knob of conf/ with its default and meaning.", arguments)


if __name__ == "__main__":
    sys.exit(main())
