"""Which groups leave: hand-made cases for ranks, amounts, floors, budgets and the preference."""

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.resources.counting import measure, savings
from pruning_lab.selection.amounts import Groups, Progress, ShareOf, ShareOfGroups, ShareOfRemaining
from pruning_lab.selection.floors import Floors, LayerFloors
from pruning_lab.selection.selection import Choice, Selection
from pruning_lab.selection.stopping import All, StopRule
from tests.networks.two_paths import traced

NO_FLOORS = LayerFloors({})


def chain() -> tuple[nn.Module, ChannelGraph]:
    """Three convolutions of 4 filters; the first works on four times as many pixels as the others."""
    convolutions = [nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Conv2d(4, 2, 1)]
    return traced(nn.Sequential(*convolutions))


def rising(graph: ChannelGraph) -> Tensor:
    return torch.arange(len(graph), dtype=torch.float32)


def choose(
    graph: ChannelGraph,
    selection: Selection,
    scores: Tensor | None = None,
    floors: LayerFloors = NO_FLOORS,
    stop: StopRule | None = None,
) -> Choice:
    scores = rising(graph) if scores is None else scores
    return selection(scores, graph, floors, stop or All(flops=0.01), measure(graph))


def test_the_lowest_scores_leave_first() -> None:
    _, graph = chain()
    scores = torch.tensor([5.0, 1, 7, 3, 2, 8, 6, 4, 0, 0])
    choice = choose(graph, Selection(Groups(3)), scores)
    assert choice.groups.nonzero().flatten().tolist() == [1, 3, 4]


def test_groups_that_are_not_prunable_stay_whatever_their_score() -> None:
    _, graph = chain()
    scores = torch.full((len(graph),), 5.0)
    scores[~graph.prunable] = -1.0
    assert not bool((choose(graph, Selection(Groups(3)), scores).groups & ~graph.prunable).any())


def test_a_share_of_groups_removes_that_share_and_at_least_one() -> None:
    _, graph = chain()
    assert int(choose(graph, Selection(ShareOfGroups(0.3))).groups.sum()) == 3
    assert int(choose(graph, Selection(ShareOfGroups(0.001))).groups.sum()) == 1


@pytest.mark.parametrize("resource", ["flops", "weights"])
def test_a_share_of_a_resource_is_reached_by_the_last_group_and_not_before(resource: str) -> None:
    _, graph = chain()
    original = measure(graph)
    chosen = choose(graph, Selection(ShareOf(resource, 0.2))).groups
    without_last = chosen.clone()
    without_last[chosen.nonzero().max()] = False
    assert measure(graph, chosen).fractions_of(original)[resource] <= 0.8
    assert measure(graph, without_last).fractions_of(original)[resource] > 0.8


def test_a_step_ends_where_the_budget_is_met() -> None:
    _, graph = chain()
    original = measure(graph)
    choice = choose(graph, Selection(ShareOf("flops", 1.0)), stop=All(flops=0.6))
    without_last = choice.groups.clone()
    without_last[choice.groups.nonzero().max()] = False
    assert measure(graph, choice.groups).fractions_of(original)["flops"] <= 0.6
    assert measure(graph, without_last).fractions_of(original)["flops"] > 0.6


def test_rank_per_saving_prefers_the_dearer_of_two_equal_scores() -> None:
    _, graph = chain()
    equal = torch.ones(len(graph))
    dearest = savings(graph).flops.masked_fill(~graph.prunable, 0).max()
    chosen = choose(graph, Selection(Groups(1), per_saving=True), equal).groups
    assert int(savings(graph).flops[chosen]) == int(dearest)


def test_the_preference_decides_which_saving_counts() -> None:
    _, graph = traced(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.MaxPool2d(8), nn.Conv2d(4, 64, 3, padding=1)
        ).append(nn.Conv2d(64, 2, 1))
    )
    equal = torch.ones(len(graph))
    by_flops = choose(graph, Selection(Groups(1), {"flops": 1, "weights": 0}, per_saving=True), equal)
    by_weights = choose(graph, Selection(Groups(1), {"flops": 0, "weights": 1}, per_saving=True), equal)
    saved = savings(graph)
    assert int(saved.flops[by_flops.groups]) > int(saved.flops[by_weights.groups])
    assert int(saved.weights[by_weights.groups]) >= int(saved.weights[by_flops.groups])


def test_the_budget_that_is_still_unmet_steers_the_selection() -> None:
    model, graph = chain()
    original = measure(graph)
    stop = All(flops=0.7, weights=0.3)
    selection = Selection(ShareOf("flops", 0.1), {"flops": 1.0})
    preferences = []
    while stop(measure(graph).fractions_of(original)):
        choice = selection(rising(graph), graph, NO_FLOORS, stop, original)
        preferences.append(dict(choice.preference))
        cut(model, graph, choice.groups)
    assert preferences[0] == {"flops": 1.0, "weights": 0.0}
    assert preferences[-1] == {"flops": 0.0, "weights": 1.0}
    assert measure(graph).fractions_of(original)["weights"] <= 0.3


def test_while_only_latency_is_unmet_the_ranking_is_per_saving_of_flops() -> None:
    model, graph = chain()
    original = measure(graph)
    cut(model, graph, [0])
    stop = All(flops=0.999, latency=0.5)
    choice = Selection(Groups(1))(torch.ones(len(graph)), graph, NO_FLOORS, stop, original, {"latency": 0.9})
    assert choice.preference == {"flops": 1.0, "weights": 0.0}
    saved = savings(graph).flops.masked_fill(~graph.prunable, 0)
    assert int(saved[choice.groups]) == int(saved.max())


def test_a_step_under_a_latency_budget_ends_by_its_amount() -> None:
    _, graph = chain()
    original = measure(graph)
    selection = Selection(ShareOf("flops", 0.2))
    choice = selection(rising(graph), graph, NO_FLOORS, All(latency=0.5), original, {"latency": 0.9})
    expected = selection(rising(graph), graph, NO_FLOORS, All(flops=0.01), original)
    assert torch.equal(choice.groups, expected.groups)


def test_a_met_latency_budget_removes_nothing() -> None:
    _, graph = chain()
    choice = Selection(Groups(3))(rising(graph), graph, NO_FLOORS, All(latency=0.5), measure(graph), {"latency": 0.5})
    assert not choice.groups.any()


@pytest.mark.parametrize("stop", [All(memory=0.7), All(bytes=0.6)])
def test_a_step_ends_where_memory_or_bytes_are_met(stop: StopRule) -> None:
    _, graph = chain()
    original = measure(graph)
    choice = choose(graph, Selection(Groups(100), {"flops": 0, "memory": 1}, per_saving=True), stop=stop)
    assert stop(measure(graph, choice.groups).fractions_of(original)) == set()
    assert stop(measure(graph).fractions_of(original))
    assert int(choice.groups.sum()) < int(graph.prunable.sum())


def test_memory_is_saved_only_where_the_pass_is_fullest() -> None:
    _, graph = chain()
    equal = torch.ones(len(graph))
    chosen = choose(graph, Selection(Groups(2), {"flops": 0, "memory": 1}, per_saving=True), equal).groups
    assert int(chosen[graph.layers["0"]].sum()) == 2


def test_no_group_is_lost_where_there_is_memory_to_spare() -> None:
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(8), nn.Conv2d(4, 16, 1), nn.Conv2d(16, 2, 1)]
    model, graph = traced(nn.Sequential(*layers))
    floors = Floors(by_type={"Conv2d": 0.0}).resolve(model, graph, measure(graph))
    scores = torch.ones(len(graph))
    scores[graph.layers["2"]] = 0.001
    selection = Selection(Groups(100), {"flops": 0, "memory": 1}, per_saving=True)
    chosen = choose(graph, selection, scores, floors, All(memory=0.01)).groups
    assert int(chosen[graph.layers["0"]].sum()) == 3
    assert int(chosen[graph.layers["2"]].sum()) == 0


@pytest.mark.parametrize("resource", ["bytes", "memory"])
def test_a_share_of_bytes_or_memory_is_reached(resource: str) -> None:
    _, graph = chain()
    chosen = choose(graph, Selection(ShareOf(resource, 0.1)), stop=All(**{resource: 0.01})).groups
    assert measure(graph, chosen).fractions_of(measure(graph))[resource] <= 0.9


def test_a_floor_forbids_and_names_its_layer() -> None:
    model, graph = chain()
    floors = Floors(by_module={"0": 1.0}, by_type={"Conv2d": 0.5}).resolve(model, graph, measure(graph))
    choice = choose(graph, Selection(ShareOfGroups(1.0)), floors=floors)
    assert not bool(choice.groups[graph.layers["0"]].any())
    assert int(choice.groups[graph.layers["1"]].sum()) == 2
    assert set(choice.bound) == {"0", "1"}


def test_no_layer_ever_loses_its_last_filter() -> None:
    model, graph = chain()
    floors = Floors(by_type={"Conv2d": 0.0}).resolve(model, graph, measure(graph))
    choice = choose(graph, Selection(ShareOfGroups(1.0)), floors=floors, stop=All(weights=0.001))
    assert graph.emptied(choice.groups) == []


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Groups(0), "count"),
        (lambda: ShareOf("flop", 0.1), "flop"),
        (lambda: ShareOf("flops", 5), "0.02"),
        (lambda: Selection(Groups(1), {"bytes": 1.0}), "bytes"),
        (lambda: Selection(Groups(1), {"flops": 0.0}), "positive"),
    ],
)
def test_mistakes_are_told_in_one_line(make, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("before", [1.0, 0.2])
def test_a_share_of_what_remains_shrinks_with_it(before: float) -> None:
    enough = ShareOfRemaining("flops", 0.25)
    unmet = frozenset({"flops"})
    just = {"flops": 0.75 * before, "weights": before}
    short = {"flops": 0.76 * before, "weights": before}
    assert enough(Progress({"flops": before}, just, 10, 1), unmet)
    assert not enough(Progress({"flops": before}, short, 10, 1), unmet)
