"""Which commit of the code made a run. Knows git, and nothing of the run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def git_commit(folder: Path | None = None) -> str:
    """The commit of `folder` (default: the working directory), with "-dirty" if tracked files differ from it.

    "unknown" outside of a repository, before its first commit, or without git.
    """
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()
