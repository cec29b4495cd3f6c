"""Which code made a run: its commit, and a digest of its sources. Knows git, and nothing of the run."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


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


@functools.cache
def code_digest() -> str:
    """16 hex digits of all sources of the package; a commit does not tell one dirty tree from another."""
    whole = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        whole.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:16]
