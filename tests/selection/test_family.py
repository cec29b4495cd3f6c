"""One table of properties over every amount with every stop rule: a new one is tested the day it is born."""

import inspect
from collections.abc import Mapping

import pytest
import torch

from pruning_lab import selection
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.resources.counting import Resources, measure
from pruning_lab.resources.table import COUNTED, RESOURCES
from pruning_lab.selection import All, AnyOf, Budget, Groups, Selection, ShareOf, ShareOfGroups, ShareOfRemaining
from pruning_lab.selection.amounts import Amount
from pruning_lab.selection.floors import LayerFloors
from pruning_lab.selection.stopping import StopRule
from tests.networks.two_paths import traced

AMOUNTS: dict[str, Amount] = {
    "groups": Groups(3),
    "share_of_groups": ShareOfGroups(0.2),
    **{f"share_of_{name}": ShareOf(name, 0.1) for name in COUNTED},
    **{f"share_of_remaining_{name}": ShareOfRemaining(name, 0.2) for name in COUNTED},
}
STOPS: dict[str, StopRule] = {
    "budget": Budget("flops", 0.6),
    **{f"all_{name}": All(**{name: 0.8}) for name in RESOURCES},
    "all": All(flops=0.7, weights=0.5, latency=0.8),
    "any": AnyOf(flops=0.5, bytes=0.7, memory=0.2),
}
KEEP_ONE = 1
"""Filters that every layer keeps."""


def left(graph: ChannelGraph, original: Resources) -> Mapping[str, float]:
    """What is left of every resource, as if a pass took as long as it has FLOPs."""
    counted = measure(graph).fractions_of(original)
    return {**counted, "latency": counted["flops"]}


def each_step(amount: Amount, stop: StopRule) -> list[tuple[Mapping[str, float], int]]:
    """Steps down to the budget: what is left after each, and how many groups it removed."""
    model, graph = traced()
    original = measure(graph)
    floors = LayerFloors({("filters", name): KEEP_ONE for name in graph.layers})
    chooser = Selection(amount, {"flops": 1, "memory": 1})
    steps = []
    while stop(left(graph, original)):
        scores = torch.rand(len(graph), generator=torch.Generator().manual_seed(len(steps)))
        choice = chooser(scores, graph, floors, stop, original, measured=left(graph, original))
        assert not bool((choice.groups & ~graph.prunable).any())
        if not bool(choice.groups.any()):
            break
        cut(model, graph, choice.groups)
        steps.append((left(graph, original), int(choice.groups.sum())))
    assert min(graph.widths.values()) >= KEEP_ONE
    return steps


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS.keys())
@pytest.mark.parametrize("amount", AMOUNTS.values(), ids=AMOUNTS.keys())
def test_every_amount_leads_to_every_budget_step_by_step(amount: Amount, stop: StopRule) -> None:
    steps = each_step(amount, stop)
    assert stop(steps[-1][0]) == frozenset()
    assert all(stop(fractions) for fractions, _ in steps[:-1])
    assert all(removed > 0 for _, removed in steps)


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS.keys())
@pytest.mark.parametrize("amount", AMOUNTS.values(), ids=AMOUNTS.keys())
def test_a_budget_that_is_met_removes_nothing(amount: Amount, stop: StopRule) -> None:
    _, graph = traced()
    met = dict.fromkeys(RESOURCES, 0.01)
    whole = measure(graph)
    large = Resources(
        100 * whole.macs, 100 * whole.flops, 100 * whole.weights, 100 * whole.bytes, {}, 100 * (whole.memory or 0)
    )
    choice = Selection(amount)(torch.rand(len(graph)), graph, LayerFloors({}), stop, large, measured=met)
    assert not choice.groups.any()


def test_the_table_holds_every_amount_and_every_stop_rule() -> None:
    offered = {getattr(selection, name) for name in selection.__all__}
    classes = {one for one in offered if inspect.isclass(one) and one.__module__.endswith(("amounts", "stopping"))}
    assert classes == {type(one) for one in (*AMOUNTS.values(), *STOPS.values())}
