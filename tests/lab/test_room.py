"""What no machine can hold is refused before it is built; what fits passes, and nothing of it stays."""

import os
import shutil
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pruning_lab.common import machine
from pruning_lab.common.errors import LabError
from pruning_lab.lab import room
from pruning_lab.lab.room import check_network, check_room
from pruning_lab.models import UNet
from tests.networks.labs import tiny_lab


def test_the_weights_of_a_network_are_counted_without_memory_and_random_states_stay():
    before = torch.get_rng_state()
    model = UNet(width=4, depth=2)
    counted, _ = check_network(lambda: UNet(width=4, depth=2))
    torch.set_rng_state(before)
    assert counted == sum(4 * parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("arguments", [{"depth": 16}, {"width": 10**6}])
def test_a_network_that_no_machine_holds_is_refused_within_seconds(arguments):
    started = time.process_time()
    with pytest.raises(LabError, match=r"model UNet has .* weights: training it takes .*B of memory at least"):
        check_network(lambda: UNet(**arguments))
    assert time.process_time() - started < 10


def test_a_size_that_can_not_be_counted_is_refused_and_what_needs_values_is_left_to_be_built():
    with pytest.raises(LabError, match="more bytes than can be counted"):
        check_network(lambda: UNet(depth=40))

    def needs_values():
        layer = nn.Linear(100, 100)
        assert layer.weight.sum().item() == layer.weight.sum().item()
        return layer

    assert check_network(needs_values) == (0, 0)


def test_the_bound_is_the_machines_memory(monkeypatch):
    monkeypatch.setattr(room, "memory_bytes", lambda: 100_000)
    with pytest.raises(LabError, match="there are 100 kB"):
        check_network(lambda: nn.Linear(100, 100))
    assert check_network(lambda: nn.Linear(50, 50))[0] == 4 * (2500 + 50)


def test_what_is_no_network_is_told_by_the_key():
    with pytest.raises(LabError, match=r"model\._target_ builds a str"):
        check_network(os.getcwd)  # type: ignore[arg-type]


def test_a_disk_without_room_for_the_run_is_told_before_it(monkeypatch, tmp_path):
    lab = tiny_lab(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(LabError, match=r"1\.00 kB are free; make room there"):
        check_room(lab)


def test_a_containers_memory_is_less_than_the_machines(monkeypatch, tmp_path):
    whole = machine.memory_bytes()
    (tmp_path / "limit").write_text("123456\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(machine, "LIMITS", (str(tmp_path / "none"), str(tmp_path / "missing"), str(tmp_path / "limit")))
    assert machine.memory_bytes() == 123456 < whole
