from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.lab.snapshots import Snapshots
from tests.networks.tiny import TinyNet, same_state, state_of


@dataclass
class Graph:
    """Stands for a channel graph that keeps a hold of the model it was read from."""

    model: nn.Module
    layers: dict[str, Tensor]


def pair(width: int = 4) -> tuple[TinyNet, Graph]:
    model = TinyNet(width=width)
    return model, Graph(model, {"conv": torch.arange(width), "head": torch.arange(2)})


def filled(keep: int, steps: int) -> Snapshots[Graph]:
    snapshots: Snapshots[Graph] = Snapshots(keep)
    for step in range(steps):
        snapshots.add(step, *pair(width=10 - step))
    return snapshots


def test_the_last_ones_are_kept() -> None:
    assert [snapshot.step for snapshot in filled(keep=3, steps=5)] == [2, 3, 4]
    assert len(filled(keep=3, steps=2)) == 2


def test_a_snapshot_does_not_follow_the_model_it_was_taken_of() -> None:
    model, graph = pair()
    before = state_of(model)
    snapshots: Snapshots[Graph] = Snapshots(1)
    snapshots.add(0, model, graph)
    with torch.no_grad():
        model.conv.weight.zero_()
    graph.layers["conv"] = graph.layers["conv"][:1]
    (kept,) = snapshots
    assert same_state(state_of(kept.model), before)
    assert kept.widths == {"conv": 4, "head": 2}


def test_the_copied_graph_belongs_to_the_copied_model() -> None:
    snapshots = filled(keep=1, steps=1)
    (kept,) = snapshots
    assert kept.graph.model is kept.model


def test_gradients_are_not_kept() -> None:
    model, graph = pair()
    model(torch.rand(2, 3, 4, 4)).sum().backward()
    snapshots: Snapshots[Graph] = Snapshots(1)
    snapshots.add(0, model, graph)
    assert all(weight.grad is None for weight in next(iter(snapshots)).model.parameters())
    assert model.conv.weight.grad is not None


def test_a_step_that_is_added_again_takes_its_own_place() -> None:
    snapshots = filled(keep=3, steps=3)
    snapshots.add(2, *pair(width=5))
    assert [snapshot.step for snapshot in snapshots] == [0, 1, 2]
    assert snapshots.most_promising({0: 0, 1: 0, 2: 1}).widths["conv"] == 5


def test_the_most_promising_is_chosen_among_those_kept() -> None:
    snapshots = filled(keep=3, steps=5)
    assert snapshots.most_promising({0: 9.0, 1: 8.0, 2: 0.1, 3: 0.7, 4: 0.2}).step == 3


def test_among_equals_the_latest_is_chosen() -> None:
    assert filled(keep=3, steps=3).most_promising(dict.fromkeys(range(3), float("-inf"))).step == 2


def test_choosing_from_nothing_is_refused() -> None:
    with pytest.raises(LabError, match="no snapshot"):
        Snapshots(1).most_promising({})


def test_keeping_none_is_refused() -> None:
    with pytest.raises(LabError, match=r"validation\.keep=0"):
        Snapshots(0)
