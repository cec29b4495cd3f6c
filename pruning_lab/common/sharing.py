"""How many cores this process may use, and how many runs of the lab share them. Knows files and locks, and no torch.

A run that works holds a locked file in a folder of its user's; the system unlocks it when the process ends in whatever
way. Runs on other cores, by affinity or by a SLURM task of their own, are counted apart.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

EXPECTED = "PRUNING_LAB_JOBS_AT_ONCE"
"""Environment variable: how many jobs a launcher runs side by side, before they have all started."""

_own: list[Path] = []
"""Files that this process holds."""


def cores() -> int:
    """Processor cores that this process may use: by affinity, by its control group's limit, and by SLURM's word."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    limits = [count, *([int(given)] if given.isdigit() and int(given) > 0 else []), *_group_limits()]
    return max(1, min(limits))


def runs_here(folder: Path | None = None) -> int:
    """Runs that share these cores, this one included; as many as the launcher will start, where it says so."""
    expected = os.environ.get(EXPECTED, "")
    return max(1, _count(folder or _registry()), int(expected) if expected.isdigit() else 0)


def share(folder: Path | None = None) -> int:
    """Cores for each run, at least one."""
    return max(1, cores() // runs_here(folder))


@contextmanager
def working(folder: Path | None = None) -> Iterator[None]:
    """Count this process as a run while inside; where no file can be written, it is not counted."""
    place = (folder or _registry()) / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place, timeout=0)
        lock.acquire()
    except (OSError, Timeout):
        yield
        return
    _own.append(place)
    try:
        yield
    finally:
        _own.remove(place)
        place.unlink(missing_ok=True)
        lock.release()


def _count(folder: Path) -> int:
    """Held files; what a process left that was killed is swept up."""
    try:
        # Two that count at once would take each other's look for a run.
        with FileLock(folder / "count", timeout=5):
            return sum(path in _own or _held(path) for path in folder.glob("*.lock"))
    except (OSError, Timeout):
        return len(_own)


def _held(path: Path) -> bool:
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    path.unlink(missing_ok=True)
    lock.release()
    return False


def _registry() -> Path:
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    task = [os.environ.get(f"SLURM_{name}", "") for name in ("JOB_ID", "STEP_ID", "PROCID")]
    key = hashlib.sha256(repr((cpus, task)).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"pruning_lab_{_user()}" / f"runs_{key}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        return "unknown"


def _group_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Whole cores that control groups, of version 2 or 1, leave this process."""
    found = []
    for folder in _groups(root, own):
        for name, period in (("cpu.max", None), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            try:
                words = (folder / name).read_text().split()
                words += (folder / period).read_text().split() if period else []
                quota, length = int(words[0]), int(words[1])
            except (OSError, ValueError, IndexError):  # no limit is spelled `max`
                continue
            if quota > 0 and length > 0:
                found.append(max(1, quota // length))
    return found


def _groups(root: Path, own: Path) -> list[Path]:
    """The process's control groups and those around them."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    folders = [root, root / "cpu"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            top = root / "cpu" if controllers else root
            parts = Path(path.lstrip("/"))
            folders += [top / part for part in (parts, *parts.parents)]
    return list(dict.fromkeys(folders))
