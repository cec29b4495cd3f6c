"""What it costs that a trained base knows its data: MB/s of hashing, and seconds where digests are remembered."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pruning_lab.data import digests
from pruning_lab.data.digests import content_digests

pytestmark = [pytest.mark.slow, pytest.mark.benchmark_ratio]

FILES, MEGABYTES = 200, 1
LEAST_MB_PER_S = 50


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_hashing_is_fast_and_remembering_is_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SETTLED_S", -60)
    block = os.urandom(MEGABYTES * 10**6)
    for number in range(FILES):
        (tmp_path / f"{number}.bin").write_bytes(number.to_bytes(4, "big") + block)
    files, memory = list(tmp_path.glob("*.bin")), tmp_path / "memory.json"
    hashing = seconds(lambda: content_digests(files, memory))
    remembering = seconds(lambda: content_digests(files, memory))
    speed = FILES * MEGABYTES / hashing
    print(f"\nhashed {FILES} files of {MEGABYTES} MB at {speed:.0f} MB/s; remembered, they take {remembering:.4f} s")
    assert speed > LEAST_MB_PER_S
    assert remembering < hashing / 3
