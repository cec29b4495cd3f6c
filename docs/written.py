"""The command line of the pages that a script writes. Knows no page."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from pruning_lab.common.files import write_atomically


def write_page(render: Callable[[], str], page: Path, about: str, arguments: list[str] | None = None) -> int:
    """Write what `render` gives to `page`, or where `--into` says; returns the exit code."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--into", type=Path, default=page, help=f"by default {page.parent.name}/{page.name}")
    write_atomically(parser.parse_args(arguments).into, render())
    return 0
