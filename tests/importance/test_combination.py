"""Methods made of methods: sums, products, ranks, normalization, reduction, memory, saving."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.importance import (
    Importance,
    Ipad,
    Lamp,
    MeanActivation,
    MovingAverage,
    Normalized,
    PerSaving,
    Product,
    Random,
    RankAverage,
    Reduced,
    WeightedSum,
    WeightNorm,
)
from pruning_lab.resources.counting import measure
from tests.networks.scored import EXAMPLE, batches, build


@dataclass(frozen=True)
class Given:
    """Scores that are known beforehand."""

    scores: tuple[float, ...]

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: object) -> Tensor:
        return torch.tensor(self.scores)


@pytest.fixture(scope="module")
def net() -> tuple[nn.Module, ChannelGraph]:
    """Two layers of three groups that can be cut, and a head of two."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 1))
    return model, ChannelGraph.trace(model, EXAMPLE)


ONE = Given((1.0, 2.0, 3.0, 10.0, 30.0, 20.0, 5.0, 5.0))
TWO = Given((3.0, 1.0, 2.0, 0.0, 4.0, 4.0, 1.0, 2.0))


def scored(method: Importance, net: tuple[nn.Module, ChannelGraph]) -> list[float]:
    return method(*net, batches()).tolist()


def test_weighted_sum(net: tuple[nn.Module, ChannelGraph]) -> None:
    assert scored(WeightedSum([ONE, TWO], [2.0, -1.0]), net) == [-1, 3, 4, 20, 56, 36, 9, 8]
    assert scored(WeightedSum([ONE, TWO]), net) == [2, 1.5, 2.5, 5, 17, 12, 3, 3.5]


def test_product(net: tuple[nn.Module, ChannelGraph]) -> None:
    assert scored(Product([ONE, TWO]), net) == [3, 2, 6, 0, 120, 80, 5, 10]
    assert scored(Product([ONE, TWO], [2.0, 0.5]), net) == pytest.approx(
        [a**2 * b**0.5 for a, b in zip(ONE.scores, TWO.scores, strict=True)]
    )
    with pytest.raises(LabError, match=r"negative scores from Given.*by=rank"):
        Product([ONE, Given((-1.0,) * 8)])(*net, [])


def test_rank_average_shares_the_place_of_equal_scores(net: tuple[nn.Module, ChannelGraph]) -> None:
    of_one = [1, 2, 3, 6, 8, 7, 4.5, 4.5]
    of_two = [6, 2.5, 4.5, 1, 7.5, 7.5, 2.5, 4.5]
    assert scored(RankAverage([ONE]), net) == pytest.approx([place / 8 for place in of_one])
    assert scored(RankAverage([ONE, TWO], [3.0, 1.0]), net) == pytest.approx(
        [(3 * a + b) / 4 / 8 for a, b in zip(of_one, of_two, strict=True)]
    )


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("none", list(ONE.scores)),
        ("mean", [0.5, 1, 1.5, 0.5, 1.5, 1, 1, 1]),
        ("max", [1 / 3, 2 / 3, 1, 1 / 3, 1, 2 / 3, 1, 1]),
        ("sum", [1 / 6, 2 / 6, 3 / 6, 1 / 6, 3 / 6, 2 / 6, 1 / 2, 1 / 2]),
        ("rank", [1 / 3, 2 / 3, 1, 1 / 3, 1, 2 / 3, 3 / 4, 3 / 4]),
    ],
)
def test_normalized_within_layers(net: tuple[nn.Module, ChannelGraph], by: str, expected: list[float]) -> None:
    assert scored(Normalized(ONE, "layer", by), net) == pytest.approx(expected)


def test_gaussian_is_the_share_of_the_normal_distribution_below(net: tuple[nn.Module, ChannelGraph]) -> None:
    normal = torch.distributions.Normal(2.0, (2 / 3) ** 0.5)
    expected = normal.cdf(torch.tensor([1.0, 2.0, 3.0])).tolist()
    assert scored(Normalized(ONE, "layer", "gaussian"), net)[:3] == pytest.approx(expected)
    assert scored(Normalized(ONE, "layer", "gaussian"), net)[6:] == [0.5, 0.5]


def test_normalized_over_the_network(net: tuple[nn.Module, ChannelGraph]) -> None:
    total = sum(ONE.scores)
    assert scored(Normalized(ONE, "global", "sum"), net) == pytest.approx([score / total for score in ONE.scores])


def test_layers_of_one_kind_are_compared_with_each_other() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    values = torch.arange(len(graph), dtype=torch.float32)
    ranks = Normalized(Given(tuple(values.tolist())), "kind", "rank")(model, graph, [])
    both = torch.cat([graph.layers["conv1"], graph.layers["conv2"]])
    assert ranks[both].tolist() == pytest.approx([(place + 1) / 14 for place in range(14)])
    assert ranks[graph.layers["head"]].tolist() == pytest.approx([1 / 3, 2 / 3, 1])


def test_a_layer_of_zeros_stays_as_it_is(net: tuple[nn.Module, ChannelGraph]) -> None:
    zeros = Given((0.0,) * 8)
    for by in ("mean", "max", "sum"):
        assert scored(Normalized(zeros, "layer", by), net) == [0] * 8


def test_reduced_over_the_filters_of_a_group() -> None:
    model = build("residual")
    graph = ChannelGraph.trace(model, EXAMPLE)
    filters = Lamp().by_filter(model, graph, [])
    group = int(graph.layers["stem"][0])
    members = [float(filters[layer][index]) for layer, index in graph.group(group).filters]
    expected = {"mean": sum(members) / len(members), "sum": sum(members), "max": max(members), "first": members[0]}
    assert len(set(members)) > 1
    for by, value in expected.items():
        assert float(Reduced(Lamp(), by)(model, graph, [])[group]) == pytest.approx(value)


def test_reduced_tells_which_methods_it_can_take() -> None:
    with pytest.raises(LabError, match="not Random"):
        Reduced(Random())  # type: ignore[arg-type]
    with pytest.raises(LabError, match="by=median"):
        Reduced(Lamp(), "median")


def test_moving_average_follows_filters_through_a_cut() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    first, second = torch.arange(17.0), torch.arange(100.0, 115.0)
    average = MovingAverage(Given(tuple(first.tolist())), decay=0.75)
    assert torch.equal(average(model, graph, []), first)
    cut(model, graph, [0, 8])
    kept = torch.tensor([group for group in range(17) if group not in (0, 8)])
    average.method = Given(tuple(second.tolist()))
    assert torch.equal(average(model, graph, []), 0.75 * first[kept] + 0.25 * second)


def test_moving_average_can_be_taken_up_again() -> None:
    model = build("residual")
    graph = ChannelGraph.trace(model, EXAMPLE)
    one = MovingAverage(WeightNorm(), decay=0.5)
    one(model, graph, [])
    other = MovingAverage(MeanActivation(), decay=0.5)
    other.load_state_dict(one.state_dict())
    expected = 0.5 * WeightNorm()(model, graph, []) + 0.5 * MeanActivation()(model, graph, batches())
    torch.testing.assert_close(other(model, graph, batches()), expected)


def test_per_saving_divides_by_the_share_that_a_cut_really_saves(net: tuple[nn.Module, ChannelGraph]) -> None:
    model, graph = net
    whole = measure(graph)
    for flops, weights in ((1.0, 0.0), (0.0, 1.0), (2.0, 3.0)):
        scores = PerSaving(ONE, flops, weights)(model, graph, [])
        for group in graph.prunable.nonzero().flatten().tolist():
            left = measure(graph, graph.as_mask([group])).fractions_of(whole)
            share = flops * (1 - left["flops"]) + weights * (1 - left["weights"])
            assert float(scores[group]) == pytest.approx(ONE.scores[group] / share, rel=1e-4)


def test_methods_of_one_combination_all_see_images_that_come_only_once(net: tuple[nn.Module, ChannelGraph]) -> None:
    def once() -> Iterator[tuple[Tensor, Tensor]]:
        yield from batches()

    method = WeightedSum([Ipad(), MeanActivation()])
    torch.testing.assert_close(method(*net, once()), method(*net, batches()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: WeightedSum([]), "methods is empty"),
        (lambda: WeightedSum([ONE, TWO], [1.0]), "2 entries, not 1"),
        (lambda: Normalized(ONE, "block"), "scope=block"),
        (lambda: Normalized(ONE, "layer", "median"), "by=median"),
        (lambda: MovingAverage(ONE, decay=1.0), "decay=1.0"),
        (lambda: PerSaving(ONE, flops=0.0), "one must be positive"),
        (lambda: PerSaving(ONE, flops=-1.0, weights=2.0), "must not be negative"),
    ],
)
def test_a_wrong_option_is_named(wrong: object, message: str) -> None:
    with pytest.raises(LabError, match=message):
        wrong()  # type: ignore[operator]
