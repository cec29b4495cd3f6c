"""What an inspection says is true of the model."""

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Importance, Ipad, WeightNorm
from pruning_lab.models import UNet
from pruning_lab.resources.counting import measure
from pruning_lab.selection.amounts import ShareOf
from pruning_lab.selection.floors import Floors
from pruning_lab.selection.selection import Selection
from pruning_lab.selection.stopping import All, AnyOf, StopRule
from pruning_lab.tasks.inspect.facts import Inspection, inspect_model, reads_of, runs_of
from tests.networks.two_paths import TwoPaths, traced


def inspected(
    model: nn.Module | None = None,
    stop: StopRule | None = None,
    floors: Floors | None = None,
    importance: Importance | None = None,
) -> Inspection:
    return inspect_model(
        model or TwoPaths(),
        torch.zeros(1, 3, 16, 16),
        floors or Floors(by_module={"*": 0.1}),
        Selection(ShareOf("flops", 0.2)),
        stop or All(flops=0.5),
        importance or WeightNorm(),
    )


def of(facts: Inspection, name: str):
    return next(layer for layer in facts.layers if layer.name == name)


def test_costs_are_those_that_resources_measure() -> None:
    model, graph = traced()
    facts, resources = inspected(model), measure(graph)
    assert (facts.macs, facts.flops, facts.weights, facts.bytes) == (
        resources.macs,
        resources.flops,
        resources.weights,
        resources.bytes,
    )
    assert {layer.name: layer.macs for layer in facts.layers} == {n: r.macs for n, r in resources.layers.items()}
    assert sum(layer.macs_share for layer in facts.layers) == pytest.approx(1)


def test_layers_tell_floors_ties_and_why_they_are_frozen() -> None:
    facts = inspected(floors=Floors(by_module={"down": {"flops": 0.5}}, by_type={"Conv2d": 0.25}))
    assert of(facts, "first").floor == {"filters": 2.0}
    assert of(facts, "down").floor == {"flops": 0.5 * of(facts, "down").flops, "filters": 1}
    assert of(facts, "up").floor == {"filters": 5.0}
    assert of(facts, "first").tied == ("second", "depthwise")
    assert of(facts, "depthwise").convolution_groups == 8
    assert of(facts, "head").frozen == "feeds the model's output"
    assert (of(facts, "head").prunable_filters, of(facts, "first").prunable_filters) == (0, 8)


def test_readers_are_told_with_the_offset_of_a_concatenation() -> None:
    reads = {(read.layer, read.consumer): read for read in inspected().reads}
    assert reads["up", "head"].channels == ((8, 12),)
    assert reads["up", "head"].filters == ((0, 4),)
    assert reads["first", "head"].channels == ((0, 7),)
    assert reads["second", "depthwise"].channels == ((0, 7),)
    assert reads["down", "up"].channels == ((0, 5),)
    assert ("head", "first") not in reads


class Shared(nn.Module):
    """`head` reads every second filter of `first`, and `depthwise` each of its inputs with two filters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.depthwise = nn.Conv2d(6, 12, 3, padding=1, groups=6)
        self.head = nn.Conv2d(12 + 3, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.first(image)
        return self.head(torch.cat([first[:, ::2], self.depthwise(first)], dim=1))


def test_parts_and_depthwise_multipliers_are_told_as_they_are_read() -> None:
    graph = ChannelGraph.trace(Shared().eval(), torch.zeros(1, 3, 8, 8))
    reads = {(read.layer, read.consumer): read for read in reads_of(graph)}
    assert reads["first", "depthwise"].channels == ((0, 5),)
    assert reads["depthwise", "head"].channels[-1][1] == 14


def test_the_budget_is_reached_on_a_copy_and_told() -> None:
    model = UNet(width=4, depth=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    facts = inspected(model, All(flops=0.5, weights=0.4))
    assert facts.budget.unmet == ()
    assert facts.budget.left["flops"] <= 0.5
    assert facts.budget.left["weights"] <= 0.4
    assert facts.budget.scores == "WeightNorm"
    assert not facts.budget.fell_back
    assert facts.budget.macs == pytest.approx(facts.budget.left["flops"] * facts.macs)
    assert sum(layer.filters - layer.filters_at_budget for layer in facts.layers) >= facts.budget.groups_removed > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_latency_is_measured_only_for_a_budget_on_it() -> None:
    assert "latency" not in inspected().budget.left
    budget = inspected(stop=AnyOf(latency=0.01, flops=0.5)).budget
    assert budget.left["latency"] > 0
    assert budget.left["memory"] <= 1


def test_a_method_that_needs_images_is_replaced_by_uniform_shares() -> None:
    budget = inspected(importance=Ipad()).budget
    assert budget.fell_back
    assert budget.scores == "Uniform"
    assert budget.unmet == ()
    assert inspected(importance=Ipad(omega=1.0)).budget.scores == "Ipad"


def test_floors_that_make_the_budget_impossible_are_named() -> None:
    budget = inspected(stop=All(flops=0.05), floors=Floors(by_module={"*": 0.9})).budget
    assert budget.unmet == ("flops",)
    assert budget.bound
    assert budget.left["flops"] > 0.05


def test_a_floor_without_a_layer_is_a_mistake() -> None:
    with pytest.raises(LabError, match="fits no layer"):
        inspected(floors=Floors(by_module={"frist": 0.5}))


def test_a_model_without_layers_is_a_mistake() -> None:
    with pytest.raises(LabError, match="Identity has no layer"):
        inspected(nn.Identity())


def test_runs_are_unbroken() -> None:
    assert runs_of([0, 1, 2, 5, 7, 8]) == ((0, 2), (5, 5), (7, 8))
    assert runs_of([]) == ()
