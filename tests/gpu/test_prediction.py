"""Prediction on a GPU: as on a CPU, in the order of the images, and without waiting for one batch before the next."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pruning_lab.lab.input_facts import InputFacts
from pruning_lab.lab.prediction import Predictor
from pruning_lab.models import UNet
from pruning_lab.training.compute import ComputeSettings

pytestmark = pytest.mark.gpu

FACTS = InputFacts((0.5,) * 3, (0.25,) * 3)
SIZES = [(64, 64)] * 5 + [(37, 100), (1, 1), (300, 200)]


def test_probabilities_are_those_of_a_cpu_in_the_order_of_the_images(full_float32: None) -> None:
    stream = np.random.default_rng(0)
    images = [stream.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    torch.manual_seed(0)
    model = UNet(in_channels=3, classes=3, width=8, depth=3)
    found = {}
    for device in ("cpu", "cuda"):
        predictor = Predictor(model, FACTS, ComputeSettings(device), tile=128, overlap=16, batch_size=2)
        found[device] = list(predictor.predict_all(images, probabilities=True))
        masks = [each.mask for each in predictor.predict_all(images)]
        for each, mask in zip(found[device], masks, strict=True):
            assert each.probabilities is not None
            assert (each.mask == mask).mean() > 0.999
    for ours, theirs, image in zip(found["cuda"], found["cpu"], images, strict=True):
        assert ours.mask.shape == image.shape[:2]
        assert ours.probabilities is not None
        assert theirs.probabilities is not None
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)
