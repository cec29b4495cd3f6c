"""Small files that say how far the work of a folder is. Knows JSON, and nothing of the work.

`job.json` says for which settings and by which code the folder is, `begun.json` under which name the tracking store
knows its run, `failed.json` why the last try failed, `done.json` what came out. The last is written last: a folder that
has it needs nothing more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically

JOB, BEGUN, FAILED, DONE = "job.json", "begun.json", "failed.json", "done.json"


def write_mark(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write a mark, whole or not at all."""
    write_atomically(Path(folder) / name, json.dumps(dict(content), indent=2) + "\n")


def read_mark(folder: Path, name: str) -> dict[str, Any] | None:
    """What a mark says; None where there is none.

    Raises:
        LabError: it is there and can't be read.
    """
    path = Path(folder) / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LabError(f"{path} can't be read ({error}); delete it, and the folder's work is done again") from error
    if not isinstance(content, dict):
        raise LabError(f"{path} is no mark of the lab; delete it, and the folder's work is done again")
    return content


def remove_mark(folder: Path, name: str) -> None:
    """Remove a mark, if it is there."""
    (Path(folder) / name).unlink(missing_ok=True)
