"""Checkpoints as a stranger may make them: edited, and with a checksum that fits the edit."""

import json
from pathlib import Path
from typing import Any

from pruning_lab.checkpoint.architecture import ARCHITECTURE, sealed


def edit(folder: Path, **entries: Any) -> Path:
    """Replace entries of a checkpoint's architecture.json, and seal it again."""
    content = json.loads((folder / ARCHITECTURE).read_text())
    (folder / ARCHITECTURE).write_text(json.dumps(sealed(content | entries)))
    return folder
