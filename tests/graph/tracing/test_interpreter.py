"""What a rule can't follow stays; what goes wrong inside a rule is an error, and never "less is pruned"."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.tracing.labels import NotFollowedError
from pruning_lab.graph.tracing.rules import RULES


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(image)))


def with_rule(monkeypatch: pytest.MonkeyPatch, rule: Any) -> ChannelGraph:
    monkeypatch.setitem(RULES, torch.ops.aten.relu.default, rule)
    return ChannelGraph.trace(Net().eval(), torch.randn(1, 3, 8, 8))


def test_what_a_rule_says_it_can_not_follow_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: Any, **kwargs: Any) -> Any:
        raise NotFollowedError("not in this way")

    assert "no rule" in with_rule(monkeypatch, refuses).frozen["first"]


def test_arguments_that_a_rule_does_not_take_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no rule" in with_rule(monkeypatch, lambda interpreter, step: None).frozen["first"]


@pytest.mark.parametrize("error", [KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError])
def test_a_fault_inside_a_rule_is_an_error(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise error("a fault of the lab")

    with pytest.raises(error, match="a fault of the lab"):
        with_rule(monkeypatch, broken)
