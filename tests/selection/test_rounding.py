"""Widths at multiples: what is given back, and that every step of any network ends with widths that fit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.resources.counting import measure
from pruning_lab.selection.amounts import Groups, ShareOf, ShareOfGroups
from pruning_lab.selection.floors import Floors
from pruning_lab.selection.rounding import Rounding
from pruning_lab.selection.selection import Selection
from pruning_lab.selection.stopping import All
from tests.networks.two_paths import traced


class Tied(nn.Module):
    """Two residual blocks on one trunk, a depthwise convolution, and a layer whose width is no multiple."""

    def __init__(self, trunk: int, inner: int, odd: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, trunk, 3, padding=1)
        self.into = nn.Conv2d(trunk, inner, 1)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.back = nn.Conv2d(inner, trunk, 1)
        self.odd = nn.Conv2d(trunk, odd, 1)
        self.head = nn.Conv2d(odd + trunk, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        stem = self.stem(image)
        trunk = stem + self.back(torch.relu(self.depthwise(self.into(stem))))
        return self.head(torch.cat([self.odd(trunk), trunk], 1))


def chain(*widths: int) -> tuple[nn.Module, ChannelGraph]:
    layers = [nn.Conv2d(before, after, 1) for before, after in zip((3, *widths), (*widths, 2), strict=True)]
    return traced(nn.Sequential(*layers), size=4)


def fits(graph: ChannelGraph, multiple: int) -> bool:
    return all(width % multiple == 0 or width == graph.original_widths[name] for name, width in graph.widths.items())


def test_the_highest_scored_of_the_chosen_are_given_back() -> None:
    _, graph = chain(12)
    chosen = torch.zeros(len(graph), dtype=torch.bool)
    chosen[:7] = True
    scores = torch.tensor([5.0, 1, 6, 2, 7, 3, 4, *[9.0] * (len(graph) - 7)])
    kept = Rounding(graph, 4, scores.argsort(stable=True)).given_back(chosen)
    assert kept.nonzero().flatten().tolist() == [1, 3, 5, 6]


def test_a_width_that_is_no_multiple_is_left_as_it_is_or_goes_to_one() -> None:
    _, graph = chain(12, 6)
    chosen = torch.zeros(len(graph), dtype=torch.bool)
    chosen[:5] = chosen[12:14] = True
    kept = Rounding(graph, 8, torch.arange(len(graph))).given_back(chosen)
    assert kept.nonzero().flatten().tolist() == [0, 1, 2, 3]


def test_more_is_chosen_until_what_is_not_given_back_is_enough() -> None:
    model, graph = chain(16, 16, 16)
    floors = Floors(by_type={"Conv2d": 0.1}).resolve(model, graph, measure(graph))
    scores = torch.rand(len(graph), generator=torch.Generator().manual_seed(0))
    original = measure(graph)
    choice = Selection(ShareOf("flops", 0.1), round_to=8)(scores, graph, floors, All(flops=0.01), original)
    assert measure(graph, choice.groups).fractions_of(original)["flops"] <= 0.9
    assert choice.given_back > 0
    cut(model, graph, choice.groups)
    assert fits(graph, 8)


def test_a_floor_between_two_multiples_keeps_the_upper_one() -> None:
    model, graph = chain(16)
    floors = Floors(by_type={"Conv2d": 10 / 16}).resolve(model, graph, measure(graph))
    choice = Selection(ShareOfGroups(1.0), round_to=4)(
        torch.rand(len(graph)), graph, floors, All(flops=0.01), measure(graph)
    )
    assert int(choice.groups.sum()) == 4


def test_where_rounding_leaves_nothing_to_remove_the_choice_says_so() -> None:
    model, graph = chain(8)
    floors = Floors(by_type={"Conv2d": 0.1}).resolve(model, graph, measure(graph))
    choice = Selection(Groups(3), round_to=8)(torch.rand(len(graph)), graph, floors, All(flops=0.01), measure(graph))
    assert not choice.groups.any()
    assert choice.given_back > 0
    assert set(choice.bound) == {"0"}


@settings(max_examples=20, deadline=None)
@given(
    trunk=st.integers(2, 20),
    inner=st.integers(2, 20),
    odd=st.integers(2, 20),
    multiple=st.sampled_from([2, 3, 4, 8]),
    share=st.floats(0.02, 0.5),
    per_saving=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_step_ends_with_widths_that_fit(
    trunk: int, inner: int, odd: int, multiple: int, share: float, per_saving: bool, seed: int
) -> None:
    model, graph = traced(Tied(trunk, inner, odd), size=4)
    original = measure(graph)
    floors = Floors(by_type={"Conv2d": 0.2}).resolve(model, graph, original)
    selection = Selection(ShareOf("flops", share), per_saving=per_saving, round_to=multiple)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        scores = torch.rand(len(graph), generator=generator)
        choice = selection(scores, graph, floors, All(flops=0.1), original)
        before = measure(graph).fractions_of(original)["flops"]
        cut(model, graph, choice.groups)
        assert fits(graph, multiple)
        assert all(floors.least["filters", name] <= width for name, width in graph.widths.items())
        removed = before - measure(graph).fractions_of(original)["flops"]
        if not choice.groups.any():
            break
        assert removed > 0
    assert model(torch.zeros(1, 3, 4, 4)).shape == (1, 2, 4, 4)


@pytest.mark.parametrize("multiple", [0, -8, 2.5, True])
def test_a_multiple_is_a_positive_whole_number(multiple: object) -> None:
    with pytest.raises(LabError, match=r"selection\.round_to"):
        Selection(Groups(1), round_to=multiple)
