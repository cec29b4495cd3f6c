"""What a tape knows of each run of a module: what it is given, what it gives, and which steps ran in it."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.graph.tracing.recording import record
from pruning_lab.graph.tracing.tape import UNKNOWN, Call, Step
from tests.networks.parts import Apply, conv

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def calls(model: nn.Module, module: str) -> list[Call]:
    return [call for call in record(model, (IMAGE,)).calls if call.module == module]


class Adds(nn.Module):
    def forward(self, one: Tensor, *, others: list[Tensor], factor: object = 1) -> dict[str, Any]:
        return {"sum": (one + others[0]) * 2, "kept": None, "factor": 3}


def test_a_run_has_the_steps_of_its_arguments_and_results() -> None:
    model = Apply(lambda m, x: m.adds(x, others=[m.conv(x)], factor=0.5)["sum"], conv=conv(3, 3), adds=Adds())
    tape = record(model, (IMAGE,))
    (call,) = [call for call in tape.calls if call.module == "adds"]
    (image,) = tape.inputs
    assert call.args == (image,)
    assert call.kwargs["factor"] == 0.5
    (other,) = call.kwargs["others"]
    assert isinstance(other, Step)
    assert other.module == "conv"
    assert call.given == (image, other)
    assert call.result == {"sum": tape.outputs[0], "kept": None, "factor": 3}
    assert [step.described for step in tape.steps[call.first : call.behind]] == ["add in adds", "mul in adds"]


def test_what_is_neither_a_tensor_nor_plain_is_not_kept() -> None:
    model = Apply(lambda m, x: m.adds(x, others=[x], factor=object())["sum"], adds=Adds())
    (call,) = calls(model, "adds")
    assert call.kwargs["factor"] is UNKNOWN


def test_sizes_that_are_handed_on_are_unknown() -> None:
    """They may hold a number of channels, whoever looks at it."""
    model = Apply(lambda m, x: m.adds(x, others=[x], factor=x.shape)["sum"], adds=Adds())
    (call,) = calls(model, "adds")
    assert call.kwargs["factor"] is UNKNOWN


def test_every_run_of_a_shared_module_is_known() -> None:
    model = Apply(lambda m, x: m.conv(m.conv(x)), conv=conv(3, 3))
    first, second = calls(model, "conv")
    assert second.given == (first.result,)


def test_a_module_with_hooks_is_followed_but_is_no_call() -> None:
    """What its hooks do is its affair as well, and is not part of its forward."""
    model = nn.Sequential(conv(3, 4), conv(4, 2))
    model[0].register_forward_hook(lambda module, args, output: output * 2)
    tape = record(model, (IMAGE,))
    assert {step.module for step in tape.steps if step.target is not None} == {"0", "", "1"}
    assert {call.module for call in tape.calls} == {"1", ""}


def test_a_forward_that_raises_leaves_the_module_it_ran_in() -> None:
    class Fails(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            raise ValueError("not today")

    def forward(model: nn.Module, image: Tensor) -> Tensor:
        try:
            return model.fails(image)
        except ValueError:
            return image + 1

    tape = record(Apply(forward, fails=Fails()), (IMAGE,))
    assert [step.described for step in tape.steps if step.target is not None] == ["add"]
    assert [call.module for call in tape.calls] == [""]


def test_code_may_ask_for_the_signature_of_a_forward() -> None:
    def forward(model: nn.Module, image: Tensor) -> Tensor:
        return image + len(inspect.signature(model.adds.forward).parameters)

    tape = record(Apply(forward, adds=Adds()), (IMAGE,))
    (added,) = [step for step in tape.steps if step.target is not None]
    assert added.args[1] == 3
