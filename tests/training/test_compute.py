import json
import random

import numpy as np
import pytest
import torch
from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.training.compute import (
    ComputeSettings,
    deterministic,
    random_state,
    resolve_device,
    seed_everything,
    set_random_state,
)
from tests.networks.tiny import TinyNet


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(1).item()


def test_auto_finds_a_device_that_works() -> None:
    assert torch.ones(1, device=resolve_device("auto")).sum().item() == 1


def test_auto_prefers_cuda_then_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    for name in ("cuda:2", "xpu"):
        with pytest.raises(LabError, match=f"device={name} is not available"):
            resolve_device(name)


def test_a_device_that_does_not_exist_is_named() -> None:
    with pytest.raises(LabError, match="device=gpu"):
        resolve_device("gpu")


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"precision": "int8"}, "precision=int8"),
        ({"clip_norm": 0}, "clip_norm=0"),
        ({"device": "x"}, "device=x"),
    ],
)
def test_settings_name_what_is_wrong(arguments: dict, key: str) -> None:
    with pytest.raises(LabError, match=key):
        ComputeSettings(**arguments)


def test_a_batch_and_a_model_take_the_layout_of_the_settings() -> None:
    settings = ComputeSettings(channels_last=True)
    image, mask = settings.move(torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64))
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert mask.dtype == torch.int64
    assert settings.place(TinyNet()).conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_model_that_returns_a_dict_is_named() -> None:
    class Wrapped(nn.Module):
        def forward(self, image):
            return {"out": image}

    with pytest.raises(LabError, match="Wrapped returns a dict"):
        ComputeSettings().logits(Wrapped(), torch.rand(1, 3, 4, 4))


def test_a_model_whose_output_has_another_size_is_named() -> None:
    with pytest.raises(LabError, match=r"AvgPool2d gives \[1, 3, 2, 2\] for images \[1, 3, 4, 4\]"):
        ComputeSettings().logits(nn.AvgPool2d(2), torch.rand(1, 3, 4, 4))


def test_one_seed_seeds_every_generator() -> None:
    seed_everything(7)
    first = draw()
    seed_everything(7)
    assert draw() == first
    seed_everything(8)
    assert all(one != other for one, other in zip(draw(), first, strict=True))


def test_random_states_come_back_from_json() -> None:
    seed_everything(7)
    random.gauss(0, 1)
    np.random.randn()
    state = json.loads(json.dumps(random_state()))
    expected = [draw() for _ in range(3)], random.gauss(0, 1), np.random.randn()
    seed_everything(0)
    set_random_state(state)
    assert ([draw() for _ in range(3)], random.gauss(0, 1), np.random.randn()) == expected


def test_deterministic_mode_is_torchs_and_can_be_left() -> None:
    try:
        deterministic(True)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled()
