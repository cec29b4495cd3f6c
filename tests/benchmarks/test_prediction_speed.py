"""How much of the network's own throughput a predictor has: images of 512 x 512 bytes in memory become masks there."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
import torch
from torch import nn

from pruning_lab.lab.input_facts import InputFacts
from pruning_lab.lab.prediction import Predictor
from pruning_lab.models import UNet
from pruning_lab.training.compute import ComputeSettings

pytestmark = [pytest.mark.slow, pytest.mark.benchmark_ratio]

LEAST_RATIO = 0.9
SIDE, BATCH = 512, 2
WIDTH = 16
"""Filters of the first level, as a U-Net of 64 has after it was pruned to a sixteenth of its FLOPs."""
ROUNDS = {"cpu": (1, 5), "cuda": (64, 9)}
"""Batches in a round, and rounds."""


def clock(device: torch.device) -> float:
    """Seconds of the processor, which other processes disturb least; on a GPU those on the wall, when it is done."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


@torch.inference_mode()
def of_the_network(model: nn.Module, batch: torch.Tensor, count: int) -> None:
    for _ in range(count):
        model(batch)


def test_a_predictor_has_nine_tenths_of_the_throughput_of_its_network() -> None:
    settings = ComputeSettings("auto")
    device = torch.device(settings.device)
    torch.manual_seed(0)
    model = settings.place(UNet(in_channels=3, classes=4, width=WIDTH)).eval()
    predictor = Predictor(model, InputFacts((0.5,) * 3, (0.25,) * 3), settings, batch_size=BATCH)
    count, rounds = ROUNDS[device.type]
    stream = np.random.default_rng(0)
    images = list(stream.integers(0, 256, (count * BATCH, SIDE, SIDE, 3), dtype=np.uint8))
    batch = torch.rand(BATCH, 3, SIDE, SIDE, device=device)
    bare: list[float] = []
    whole: list[float] = []
    for _ in range(rounds + 1):  # in turns, so that both meet the same machine; the first round warms up
        started = clock(device)
        of_the_network(model, batch, count)
        bare.append(clock(device) - started)
        started = clock(device)
        masks = [found.mask for found in predictor.predict_all(images)]
        whole.append(clock(device) - started)
        assert len(masks) == len(images)
    ratio = statistics.median(bare[1:]) / statistics.median(whole[1:])
    speeds = [count * BATCH / statistics.median(times[1:]) for times in (bare, whole)]
    print(f"\n{device}: network {speeds[0]:.1f} images/s, predictor {speeds[1]:.1f}, {ratio:.3f} of it")
    assert ratio >= LEAST_RATIO
