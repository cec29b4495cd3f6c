"""Numbered folders of which the latest whole one counts. Knows nothing of what is in them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

Write = Callable[[Path, list[Path]], None]
"""(an empty folder, whole versions that are there, the latest last) -> None; writes the files of a new version."""


def versions(folder: Path) -> list[Path]:
    """Whole versions, `step_3` and `step_3_batch_20` among them, the latest last."""
    return sorted((path for path in folder.glob("step_*") if path.is_dir()), key=_numbers)


def write_version(folder: Path, name: str, write: Write) -> Path:
    """Write a version whole or not at all; those before it leave when it is there.

    Raises what `write` raises; then the folder is as it was.
    """
    before, place = versions(folder), folder / name
    draft = place.with_name(f".{name}")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        write(draft, before)
        shutil.rmtree(place, ignore_errors=True)
        os.replace(draft, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for earlier in before:
        if earlier != place:
            shutil.rmtree(earlier)
    return place


def _numbers(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.name))
