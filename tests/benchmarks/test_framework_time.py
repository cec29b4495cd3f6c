"""The framework's own time in a run: everything but forward, backward and data."""

import time
from pathlib import Path

import pytest
import torch

from pruning_lab.checkpoint import Builder
from pruning_lab.data import Eyes
from pruning_lab.importance import Ipad
from pruning_lab.lab import loop as lab
from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.mlflow import MlflowTracker
from tests.networks.labs import tiny_lab

AIM = 0.05
TOLERATED = 0.10
"""The aim is 5 %; a busy machine slows the many small pieces more than the long products."""

WORK = ("cost/score_seconds", "cost/recovery_seconds", "cost/validation_seconds")


@pytest.mark.slow
@pytest.mark.benchmark_ratio
def test_the_frameworks_own_time_is_a_small_part_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"in_channels": 3, "classes": 4, "width": 16, "depth": 4}
    builder = Builder("pruning_lab.models.UNet", arguments)
    experiment = tiny_lab(
        tmp_path,
        dataset=Eyes(size=(96, 128), train=64, val=16, test=8),
        build=builder.build,
        builder=builder,
        importance=Ipad(),
        tracker=MlflowTracker(),
        verify=False,
        base_recipe={"model": arguments},
    )
    torch.set_num_threads(2)
    try:
        state = lab.begin(_started(experiment))
        started = time.perf_counter()
        lab.descend(experiment, state)
        seconds = time.perf_counter() - started
    finally:
        torch.set_num_threads(1)
    rows = History.read(experiment.output.folder / "history.csv").rows[1:]
    work = sum(row[name] for row in rows for name in WORK)
    share = (seconds - work) / seconds
    with capsys.disabled():
        print(f"\nown time of {len(rows)} steps: {share:.1%} of {seconds:.1f} s (aim: under {AIM:.0%})")
    assert share < TOLERATED


def _started(experiment):
    experiment.output.tracker.start(experiment.output.opening)
    return experiment
