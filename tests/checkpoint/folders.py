"""Checkpoints as a stranger may make them: edited, and with a checksum that fits the edit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pruning_lab.checkpoint.architecture import ARCHITECTURE, sealed


def edit(folder: Path, **entries: Any) -> Path:
    """Replace entries of a checkpoint's architecture.json, and seal it again."""
    content = json.loads((folder / ARCHITECTURE).read_text())
    (folder / ARCHITECTURE).write_text(json.dumps(sealed(content | entries)))
    return folder


@contextmanager
def peak_bytes() -> Iterator[list[int]]:
    """The memory that is added at most while this runs; nothing where the system does not tell."""
    grown: list[int] = []
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmHWM")
    except OSError:
        yield grown
        return
    yield grown
    grown.append(_resident("VmHWM") - before)


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
