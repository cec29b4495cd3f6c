"""The tape: operators in order and without effects, whatever the model writes, and through whatever view."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.graph.tracing.recording import record
from pruning_lab.graph.tracing.tape import Step, Tape, ancestors, replaced

IMAGE = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class Function(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> object:
        return self.function(image)


def replay(tape: Tape, image: Tensor) -> list[Tensor]:
    """Run the steps of a tape one by one."""
    known: dict[Step, object] = {tape.inputs[0]: image}
    for step in tape.steps:
        if step.target is not None:
            kwargs = {key: replaced(arg, known.__getitem__) for key, arg in step.kwargs.items()}
            known[step] = step.target(*replaced(step.args, known.__getitem__), **kwargs)
        else:
            known.setdefault(step, step.constant)
    return [known[step] for step in tape.outputs]


def _slice(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1:3] = 2 * x[:, :2]
    return y + 1


def _view_of_view(x: Tensor) -> Tensor:
    y = x.clone()
    part = y.permute(0, 2, 3, 1)[:, 1:5]
    part[..., 0].mul_(3)
    return y.sum(1) + part.mean()


def _other_view(x: Tensor) -> Tensor:
    y = x.clone()
    before, after = y[:, :2], y.view(2, -1)
    before.add_(1)
    return after.view(2, 4, 6, 6) * before.sum()


def _base_after_view(x: Tensor) -> Tensor:
    y = x.clone()
    view = y.flatten(2)
    y.relu_()
    view[:, 0] = 5
    return torch.cat([y.flatten(2), view], 1)


def _chunks(x: Tensor) -> Tensor:
    y = x.clone()
    for number, part in enumerate(y.chunk(2, 1)):
        part.mul_(number + 2)
    one, other = y.unbind(0)
    one.zero_()
    return y * other


def _turned_in_place(x: Tensor) -> Tensor:
    y = x.clone()
    whole = y[:]
    y.transpose_(1, 2).unsqueeze_(0)
    y.add_(x.transpose(1, 2))
    return whole + y.squeeze(0).transpose(1, 2)


def _assembled(x: Tensor) -> Tensor:
    out = x.new_empty(2, 8, 6, 6)
    out[:, :4] = x
    out[:, 4:] = x * 2
    out[:, ::2] += 1
    return out


def _masked(x: Tensor) -> Tensor:
    y = x.clone()
    y[y < 0] = 0
    y.masked_fill_(y > 1, 1)
    y[:, [0, 2]] = -y[:, [0, 2]]
    return y


def _copied(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y.copy_(x)
    y[0].copy_(x[1])
    y.narrow(1, 0, 1).fill_(7)
    y.select(1, 3).uniform_(0, 0)
    return y


def _after_the_fact(x: Tensor) -> list[Tensor]:
    y = x.clone()
    early, late = y * 2, y[:, 0]
    y += 1
    return [early, late, y]


def _in_place_activation(x: Tensor) -> Tensor:
    return F.silu(F.hardtanh(F.dropout(x.clone(), 0.5, False, True), inplace=True), inplace=True)


WRITERS = [
    _slice,
    _view_of_view,
    _other_view,
    _base_after_view,
    _chunks,
    _turned_in_place,
    _assembled,
    _masked,
    _copied,
    _after_the_fact,
    _in_place_activation,
]


@pytest.mark.parametrize("function", WRITERS, ids=lambda function: function.__name__.strip("_"))
def test_a_tape_without_effects_gives_what_the_model_gives(function: Callable[[Tensor], object]) -> None:
    tape = record(Function(function), (torch.zeros_like(IMAGE) + 0.5,) if function is not _masked else (IMAGE,))
    before = IMAGE.clone()
    expected = function(IMAGE)
    found = replay(tape, IMAGE)
    for one, other in zip(found, expected if isinstance(expected, list) else [expected], strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(IMAGE, before)


@pytest.mark.parametrize("function", WRITERS, ids=lambda function: function.__name__.strip("_"))
def test_no_operator_of_a_tape_writes_into_what_it_is_given(function: Callable[[Tensor], object]) -> None:
    for step in record(Function(function), (IMAGE,)).steps:
        schema = getattr(step.target, "_schema", None)
        assert schema is None or not schema.is_mutable


def test_what_was_written_over_is_not_read() -> None:
    def function(x: Tensor) -> Tensor:
        y = torch.sigmoid(x)
        y.copy_(torch.tanh(x))
        return y * 1

    tape = record(Function(function), (IMAGE,))
    read = {str(step.target) for step in ancestors(tape.outputs) if step.target}
    assert "aten.tanh.default" in read


def test_an_operator_that_nobody_wants_whole_is_taken_apart() -> None:
    tape = record(Function(lambda x: x.narrow(1, 0, 2)), (IMAGE,))
    assert [str(step.target) for step in tape.steps if step.target] == ["aten.slice.Tensor"]


def test_views_and_in_place_operators_share_memory() -> None:
    tape = record(Function(lambda x: (x + 1).relu_().flatten(1)), (IMAGE,))
    added, activated, flat = (step for step in tape.steps if step.target)
    assert added.result.memory == activated.result.memory == flat.result.memory
    assert added.result.memory != tape.inputs[0].result.memory


def test_values_that_python_takes_are_on_the_tape_as_values() -> None:
    tape = record(Function(lambda x: x * x.mean().item()), (IMAGE,))
    taken = [step for step in tape.steps if isinstance(step.result, float)]
    assert [step.result for step in taken] == [pytest.approx(float(IMAGE.mean()))]
