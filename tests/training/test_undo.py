"""What an update changes comes back bit for bit, whatever the optimizer keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from pruning_lab.training.undo import BeforeUpdate, Copies


def test_copies_follow_tensors_that_change_their_shape() -> None:
    copies = Copies()
    for size in (3, 5):
        tensors = [torch.arange(float(size)), torch.arange(size), torch.ones(2, 3, 4, 4)]
        tensors[2] = tensors[2].to(memory_format=torch.channels_last)
        copies.take(tensors)
        for tensor in tensors:
            tensor.zero_()
        copies.put_back(tensors)
        assert torch.equal(tensors[0], torch.arange(float(size)))
        assert torch.equal(tensors[1], torch.arange(size))
        assert bool(tensors[2].all())


def test_copies_use_their_memory_again() -> None:
    copies, tensors = Copies(), [torch.zeros(4), torch.zeros(2)]
    copies.take(tensors)
    places = [copy.data_ptr() for copy in copies._copies]
    tensors[0].add_(1)
    copies.take(tensors)
    assert [copy.data_ptr() for copy in copies._copies] == places


class Odd(Optimizer):
    """Keeps a count, a list and a tensor that it replaces; moves its own rate."""

    def __init__(self, parameters: list[Tensor]) -> None:
        super().__init__(parameters, {"lr": 0.5, "scale": torch.tensor(2.0)})

    def step(self, closure: object = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                entry = self.state[parameter]
                entry["count"] = entry.get("count", 0) + 1
                entry.setdefault("seen", []).append(entry["count"])
                entry["last"] = parameter.detach().clone()
                parameter.data.sub_(group["lr"])
            group["lr"] /= 2
            group["scale"].mul_(3)


@pytest.mark.parametrize("steps", [0, 2])
def test_an_optimizer_that_keeps_more_than_tensors_comes_back(steps: int) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = Odd([weight])
    for _ in range(steps):
        optimizer.step()
    held = weight.detach().clone()
    kept = BeforeUpdate(optimizer)
    kept.take()
    last = optimizer.state[weight]["last"].clone() if steps else None
    optimizer.step()
    kept.put_back()
    assert torch.equal(weight, held)
    assert optimizer.param_groups[0]["lr"] == 0.5 / 2**steps
    assert optimizer.param_groups[0]["scale"].item() == 2 * 3**steps
    if last is None:
        assert not optimizer.state
    else:
        assert optimizer.state[weight]["count"] == steps
        assert optimizer.state[weight]["seen"] == list(range(1, steps + 1))
        assert torch.equal(optimizer.state[weight]["last"], last)


def test_frozen_parameters_are_no_obstacle() -> None:
    frozen, weight = nn.Parameter(torch.ones(2), requires_grad=False), nn.Parameter(torch.ones(2))
    optimizer = SGD([frozen, weight], lr=1.0, momentum=0.9)
    kept = BeforeUpdate(optimizer)
    kept.take()
    weight.grad = torch.ones(2)
    optimizer.step()
    kept.put_back()
    assert torch.equal(weight, torch.ones(2))
    assert not optimizer.state
