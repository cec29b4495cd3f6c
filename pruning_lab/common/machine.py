"""What the machine has: memory and processors. Knows no network, and imports nothing heavy."""

import os
import platform
from pathlib import Path

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux tells how much memory a container may take (cgroup version 2, version 1)."""


def memory_bytes() -> int:
    """Bytes of memory that this process may have at most: the machine's, or its container's where that is less.

    Where a system does not tell, a number that nothing reaches.
    """
    try:
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system has sysconf, nor these names
        most = 2**62
    for path in map(Path, LIMITS):
        try:
            most = min(most, int(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return most


def most_threads() -> int:
    """Threads or processes that may still be of use: four for each core, and never fewer than 64."""
    return max(64, 4 * (os.cpu_count() or 1))


def processor() -> str:
    """What the processor calls itself, as exactly as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # only Linux has it
        return f"{platform.machine()} {platform.processor()}".strip()
    told = dict.fromkeys(line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "model\t")))
    return " ".join([platform.machine(), *told])
