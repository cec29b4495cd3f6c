"""A digest of every file's whole content, quickly: in threads, and remembered between runs. Knows no file format.

A digest is remembered under the file's path with its size, the times of its last change (mtime and ctime) and its
inode. The ctime can't be set by a program, so that a file rewritten with its old date is still hashed anew.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pruning_lab.common.files import write_atomically

log = logging.getLogger(__name__)

DIGEST_BYTES = 16
HASHING_THREADS = 8
"""hashlib lets go of the interpreter while it hashes, and a slow disk likes several readers."""
SETTLED_S = 2.0
"""A file changed so shortly ago may change again within the same tick of the file system's clock: not remembered."""


def content_digests(paths: Iterable[Path], memory: Path | None = None) -> dict[Path, str]:
    """Return a digest (blake2b, 32 hex digits) of the content of each of `paths`.

    `memory` is the file in which they are remembered; None hashes all anew. A memory that can't be read or
    written costs time and nothing else. Raises OSError for a file that can't be read.
    """
    files = sorted(set(paths))
    known = _remembered(memory)
    before = {path: _state(path) for path in files}
    found = {path: known[key] for path in files if (key := _key(path, before[path])) in known}
    missing = [path for path in files if path not in found]
    with ThreadPoolExecutor(HASHING_THREADS) as threads:
        found |= zip(missing, threads.map(_digest, missing), strict=True)
    if memory is not None and missing:
        _remember(memory, found, before)
    return {path: found[path] for path in files}


def memory_for(root: Path) -> Path | None:
    """Return the file that remembers digests of files below `root`, in the user's cache; None without a home."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    name = hashlib.blake2b(str(root.resolve()).encode(), digest_size=DIGEST_BYTES).hexdigest()
    return base / "pruning_lab" / "digests" / f"{name}.json"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def _state(path: Path) -> os.stat_result:
    return path.stat()


def _key(path: Path, state: os.stat_result) -> str:
    facts = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
    return " ".join([*map(str, facts), str(path.absolute())])


def _remembered(memory: Path | None) -> Mapping[str, str]:
    try:
        known: Any = json.loads(memory.read_text(encoding="utf-8")) if memory is not None else {}
    except (OSError, ValueError):
        return {}
    right = isinstance(known, dict) and all(isinstance(digest, str) for digest in known.values())
    return known if right else {}


def _remember(memory: Path, found: Mapping[Path, str], before: Mapping[Path, os.stat_result]) -> None:
    """Write what is known of these files, and of no other, so that the memory can't grow without bound."""
    latest = time.time() - SETTLED_S
    kept = {
        _key(path, before[path]): digest
        for path, digest in found.items()
        if max(before[path].st_mtime, before[path].st_ctime) < latest
    }
    try:
        write_atomically(memory, json.dumps(kept, indent=0))
    except OSError as problem:
        log.debug("digests are not remembered in %s: %s", memory, problem)
