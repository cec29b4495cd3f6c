"""Reads a page as a browser would, for tests of pages."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "input", "br", "link", "hr"}
ADDRESSES = ("src", "href", "srcset", "data", "action", "poster", "xlink:href")


class Page(HTMLParser):
    """Elements of a page: which are open must be closed, what it leads to, what a reader sees."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.folder = path.parent
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.styles: list[str] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        place = self._open[-1] if self._open else ""
        {"style": self.styles, "script": self.scripts}.get(place, self.texts).append(data)

    @property
    def text(self) -> str:
        """What a reader sees, in one line."""
        return " ".join(" ".join(self.texts).split())

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def having(self, name: str) -> list[dict[str, str]]:
        """The attributes of all elements of a class."""
        return [attributes for _, attributes in self.elements if name in attributes.get("class", "").split()]

    @property
    def addresses(self) -> list[str]:
        return [
            value
            for _, attributes in self.elements
            for name, value in attributes.items()
            if name in ADDRESSES and value
        ]


def check_page(page: Page) -> None:
    """It needs no network and no other file, its anchors lead somewhere, and no two elements share a name."""
    assert page.source.startswith("<!DOCTYPE html>")
    assert len(page.ids) == len(set(page.ids))
    for address in page.addresses:
        if address.startswith("#"):
            assert address[1:] in page.ids, f"{address} leads nowhere"
        elif not address.startswith("data:"):
            assert "//" not in address, f"{address} needs a network"
            assert (page.folder / address).is_file(), f"{address} is no file"
    assert not [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "base")]
    for style in page.styles:
        assert "url(" not in style
        assert "@import" not in style
    assert any("prefers-color-scheme" in style for style in page.styles)
    names = {attributes.get("name") for tag, attributes in page.elements if tag == "meta"}
    assert "viewport" in names
