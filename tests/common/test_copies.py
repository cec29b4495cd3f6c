"""Copies of models: everything is there, nothing is shared but what a light copy shares on purpose."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of, light_copy_of

Copy = Callable[[nn.Module], nn.Module]


class Everything(nn.Module):
    """Tied weights, shared modules and lists, buffers that look at one memory, and activations kept after training."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.again = self.first
        self.recurrent = nn.LSTM(4, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.normed = nn.utils.weight_norm(nn.Linear(4, 4))
        self.kept: list[object] = []
        self.first.kept = self.kept
        self.register_buffer("table", torch.arange(8.0))
        self.register_buffer("part", self.table[2:6])
        self.register_buffer("absent", None)
        self.register_buffer("hidden", torch.zeros(2), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        answer, _ = self.recurrent(self.normed(self.second(self.first(rows))))
        self.kept[:] = [answer, {"rows": rows, "deep": [answer * 2]}]
        return answer


@pytest.fixture
def model() -> Everything:
    torch.manual_seed(0)
    made = Everything()
    made(torch.randn(3, 4)).sum().backward()
    return made


both = pytest.mark.parametrize("copied_by", [copy_of, light_copy_of])


@both
def test_a_copy_is_built_as_the_model_is(model: Everything, copied_by: Copy) -> None:
    copied = copied_by(model)
    assert copied.second.weight is copied.first.weight is not model.first.weight
    assert copied.again is copied.first is not model.first
    assert copied.first.kept is copied.kept is not model.kept
    assert copied.recurrent._flat_weights[0] is copied.recurrent.weight_ih_l0
    assert copied.state_dict().keys() == model.state_dict().keys()
    assert "hidden" in dict(copied.named_buffers())
    copied.part.zero_()
    assert copied.table.tolist() == [0, 1, 0, 0, 0, 0, 6, 7]
    assert model.table.tolist() == list(range(8))


@both
def test_a_copy_computes_the_same(model: Everything, copied_by: Copy) -> None:
    rows = torch.randn(3, 4)
    assert torch.equal(copied_by(model)(rows), model(rows))


@both
def test_activations_that_a_model_keeps_are_copied_without_their_history(model: Everything, copied_by: Copy) -> None:
    copied = copied_by(model)
    assert torch.equal(copied.kept[0], model.kept[0])
    assert copied.kept[0].grad_fn is None
    assert copied.kept[1]["deep"][0] is not model.kept[1]["deep"][0]
    assert model.kept[0].grad_fn is not None


@both
def test_gradients_and_modes_are_as_in_a_deep_copy(model: Everything, copied_by: Copy) -> None:
    model.second.eval()
    model.recurrent.weight_hh_l0.requires_grad_(False)
    copied = copied_by(model)
    assert [module.training for module in copied.modules()] == [module.training for module in model.modules()]
    assert not copied.recurrent.weight_hh_l0.requires_grad
    assert all(parameter.grad is None for parameter in copied.parameters())


def test_a_copy_shares_nothing(model: Everything) -> None:
    held = {tensor.data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    copied = copy_of(model)
    assert held.isdisjoint(tensor.data_ptr() for tensor in [*copied.parameters(), *copied.buffers()])


def test_a_light_copy_shares_its_parameters_values_and_nothing_else(model: Everything) -> None:
    copied = light_copy_of(model)
    assert copied.first.weight.data_ptr() == model.first.weight.data_ptr()
    assert copied.table.data_ptr() != model.table.data_ptr()
    copied.first.weight.data = torch.zeros(4, 4)
    assert bool(model.first.weight.any())


def test_what_is_done_to_a_light_copy_does_not_count_as_a_change_of_the_model(model: Everything) -> None:
    before = model.first.weight._version
    with torch.no_grad():
        light_copy_of(model).first.weight.mul_(1)
    assert model.first.weight._version == before


@both
def test_a_module_that_copies_itself_is_asked(copied_by: Copy) -> None:
    class Own(nn.Linear):
        def __deepcopy__(self, memo: dict) -> Own:
            made = Own(2, 2)
            made.by_itself = True
            return made

    assert copied_by(nn.Sequential(Own(2, 2)))[0].by_itself


@both
def test_a_copy_has_modules_of_its_own_and_empty_ones_among_them(copied_by: Copy) -> None:
    """A list of no modules counts as false."""
    model = nn.Sequential(nn.ModuleList(), nn.Sequential(nn.Identity(), nn.ModuleDict()))
    assert {id(module) for module in model.modules()}.isdisjoint(id(module) for module in copied_by(model).modules())


def test_a_copy_of_a_part_may_hold_on_to_what_is_around_it() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part, self.other = nn.Identity(), nn.Linear(2, 2)
            self.part.helper = self.help

        def help(self) -> None: ...

    model = Whole()
    copied = light_copy_of(model.part, around=[model, model.other])
    assert copied is not model.part
    assert copied.helper.__self__ is model
