"""What the pages say that can be tried: command lines, overrides within sentences, Python, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "api").glob("*.md")])
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)((?: {4}[^\n]*\n|\n(?= {4}))+)")
SHELL = {"", "sh", "bash", "console"}


@dataclass(frozen=True)
class Found:
    """A piece of a page, and where it stands."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text[:60]}"


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(page: Path) -> Iterator[Found]:
    """Every command of a shell block; one line may hold several, joined by &&."""
    text = page.read_text(encoding="utf-8")
    blocks = [body for language, body in FENCE.findall(text) if language in SHELL]
    blocks += INDENTED.findall(FENCE.sub("", text))
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split(" && "):
                yield Found(_name(page), part.strip())


def spans(page: Path) -> Iterator[Found]:
    """Every piece of code within a sentence."""
    prose = INDENTED.sub("\n", FENCE.sub("", page.read_text(encoding="utf-8")))
    for text in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose):
        yield Found(_name(page), " ".join(text.split()))


def python_blocks(page: Path) -> list[Found]:
    """Every fenced block of Python."""
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    return [Found(_name(page), body) for language, body in blocks if language == "python"]


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Every link to a file beside the page: the file and the anchor in it."""
    text = INDENTED.sub("\n", FENCE.sub("", page.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"\w+:", target):
            file, _, anchor = target.partition("#")
            yield (page.parent / file if file else page), anchor


def anchors(page: Path) -> set[str]:
    """How a page's headings are called in links."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
