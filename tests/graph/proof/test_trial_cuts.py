"""Proof by running: what Python code holds is found by trial cuts, and followed, or frozen with its reason."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.proof.claims import Claim
from pruning_lab.graph.proof.held_sizes import held_sizes
from pruning_lab.graph.proof.search import missed
from tests.graph.helpers import cut_against_masked, draw
from tests.networks.constructs import make
from tests.networks.parts import Apply, conv, slope

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Checks(nn.Module):
    """No operator shows that forward insists on its number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 8), conv(8, 6), conv(6, 2)

    def forward(self, image: Tensor) -> Tensor:
        first = self.first(image)
        if first.shape[1] != 8:
            raise ValueError("eight channels, please")
        return self.last(self.second(first))


class Splits(nn.Module):
    """Parts of unequal widths, held as a list; one width held as a number under a wrong impression of safety."""

    def __init__(self) -> None:
        super().__init__()
        self.widths = [3, 5]
        self.first, self.one, self.two, self.last = conv(3, 8), conv(3, 4), conv(5, 4), conv(8, 2)

    def forward(self, image: Tensor) -> Tensor:
        one, two = torch.split(self.first(image), self.widths, dim=1)
        return self.last(torch.cat([self.one(one), self.two(two)], 1))


class ScaledByWidth(nn.Module):
    """Attention whose scale is computed from the width at run time: a cut runs, but computes something else."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.last = nn.Linear(3, 8), nn.Linear(3, 8), nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        query = self.query(tokens)
        weights = torch.softmax(query @ self.key(tokens).mT / math.sqrt(query.shape[-1]), -1)
        return self.last(weights @ self.value(tokens))


def test_a_check_in_python_freezes_what_it_checks_and_nothing_else() -> None:
    graph = ChannelGraph.trace(Checks().eval(), IMAGE)
    assert graph.frozen["first"].startswith("code of the model needs its number of channels (a cut raises ValueError")
    assert "second" not in graph.frozen
    assert graph.prunable[graph.layers["second"]].all()


def test_without_proof_the_check_goes_unseen() -> None:
    graph = ChannelGraph.trace(Checks().eval(), IMAGE, prove=False)
    assert graph.prunable[graph.layers["first"]].all()


def test_a_scale_computed_from_a_width_is_seen_though_it_changes_little() -> None:
    torch.manual_seed(0)
    graph = ChannelGraph.trace(ScaledByWidth().eval(), torch.randn(2, 5, 3))
    assert "a cut changes the output" in graph.frozen["query"]
    assert graph.frozen["query"].startswith("code of the model needs its number of channels")
    assert graph.prunable[graph.layers["value"]].all()


def test_a_list_of_widths_follows_the_cut() -> None:
    torch.manual_seed(0)
    model = Splits().eval()
    graph = ChannelGraph.trace(model, IMAGE)
    assert set(graph.frozen) == {"last"}
    assert [(held.module, held.attribute) for held in graph.held] == [("", "widths")]
    original = model.widths
    for seed in range(3):
        assert cut_against_masked(model, graph, draw(graph, seed), (IMAGE,)) < 1e-5
    assert model.widths is original
    assert model.widths == [3, 5]
    cut(model, graph, [0, 3, 4])
    assert model.widths == [2, 3]
    assert original == [3, 5], "another model may share the list"
    cut(model, graph, [0])
    assert model.widths == [1, 3]
    assert model(IMAGE).shape == (2, 2, 8, 8)


def test_a_single_width_follows_the_cut() -> None:
    model, inputs = make("parts run through each other")
    graph = ChannelGraph.trace(model, inputs)
    assert [held.attribute for held in graph.held] == ["part"]
    cut(model, graph, [1])
    assert model.part == 3


def test_a_number_that_only_looks_like_a_width_is_left_alone() -> None:
    """`times` is 4 as the part's width is, but it multiplies; so the cut that sets it fails, and the filters stay."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        one, other = m.first(x).split(4, dim=1)
        return m.last(one * m.times + other)

    model = Apply(forward, first=conv(3, 8), last=conv(4, 2)).eval()
    model.times = 4
    graph = ChannelGraph.trace(model, IMAGE)
    assert "split needs its number of channels" in graph.frozen["first"]
    assert graph.held == []


def test_attributes_of_frozen_channels_are_not_candidates() -> None:
    model = Splits().eval()
    graph = ChannelGraph.trace(model, IMAGE, prove=False)
    row = graph.layers["first"]
    assert [one.attribute for one in held_sizes(model, graph, [("", (row[:3], row[3:]))])] == ["widths"]
    assert held_sizes(model, graph, [("", (row[:3], row[4:]))]) == []
    assert held_sizes(model, graph, [("", (graph.layers["last"],))]) == []


def test_channels_after_a_fixed_bound_can_be_cut() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        return m.last(torch.cat([m.one(y[:, :5]), y], 1))

    model = Apply(forward, first=conv(3, 8), one=conv(5, 4), last=conv(12, 2)).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    assert graph.prunable[graph.layers["first"]].tolist() == [False] * 5 + [True] * 3
    assert graph.frozen["first"].startswith("5 of 8 filters: slice needs its number of channels")
    assert cut_against_masked(model, graph, torch.tensor([5, 7]), (IMAGE,)) < 1e-5


def test_numbers_that_must_agree_do_not_agree_by_chance() -> None:
    """Heads are formed from the width of the tokens; were both cut in proportion, no trial would fail."""

    def forward(m: nn.Module, tokens: Tensor) -> Tensor:
        hidden = m.first(tokens)
        count, length, width = hidden.shape
        heads = m.heads(hidden).reshape(count, length, 2, width // 2)
        return m.last(torch.tanh(heads).flatten(2)) + hidden.mean((1, 2), keepdim=True)

    model = Apply(forward, first=nn.Linear(3, 24), heads=nn.Linear(24, 24), last=nn.Linear(24, 2)).eval()
    graph = ChannelGraph.trace(model, torch.randn(2, 5, 3))
    assert not graph.prunable[graph.layers["heads"]].any()


def test_a_factor_that_starts_at_zero_hides_no_mistake() -> None:
    """The split is wrong after a cut, but its branch is multiplied by zero in a new network."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        return m.last(y) + m.scale(m.branch(functional.pad(y, (0, 0, 0, 0, 0, 10 - y.shape[1])))).mean((2, 3), True)

    class Zero(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.zeros(2, 1, 1))

        def forward(self, image: Tensor) -> Tensor:
            return image * self.factor

    model = Apply(forward, first=conv(3, 8), branch=conv(10, 2), scale=Zero(), last=conv(8, 2)).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    assert not graph.prunable[graph.layers["first"]].any()


def test_outputs_that_are_not_finite_accuse_nobody() -> None:
    model = Apply(lambda m, x: m.last(torch.exp(m.first(x) * 1e6)), first=conv(3, 4), last=conv(4, 2)).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    assert graph.prunable[graph.layers["first"]].all()


def forward_passes(model: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """How often the model or a copy of it runs while it is traced."""
    counted = []
    model.register_forward_pre_hook(lambda module, args: counted.append(1))
    ChannelGraph.trace(model, inputs)
    return len(counted)


def test_a_network_that_looks_at_no_size_is_not_tried() -> None:
    """One pass is recorded."""
    model, inputs = make("residual")
    assert forward_passes(model, inputs) == 1


def test_a_network_that_may_hold_a_size_is_tried_once() -> None:
    """One pass is recorded; three are the trial's: cut, masked, and with every other claim cut."""

    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = conv(3, 8), conv(8, 2)

        def forward(self, image: Tensor) -> Tensor:
            features = self.first(image)
            return self.last(features.view(len(image), features.shape[1], *image.shape[2:]))

    assert forward_passes(Holds(), (IMAGE,)) == 4


def test_only_the_module_that_may_hold_a_size_is_tried() -> None:
    model, inputs = make("pixel shuffle")
    assert forward_passes(model, inputs) == 1


@pytest.mark.parametrize("affine", [False, True])
def test_what_a_cut_keeps_up_to_date_needs_no_trial(affine: bool) -> None:
    """Instance normalization compares the number of channels with its own account of it."""
    model = nn.Sequential(conv(3, 8), nn.InstanceNorm2d(8, affine=affine), conv(8, 2)).eval()
    assert forward_passes(model, (IMAGE,)) == 1
    graph = ChannelGraph.trace(model, IMAGE)
    assert graph.prunable[graph.layers["0"]].all()
    assert cut_against_masked(model, graph, draw(graph, 0), (IMAGE,)) < 1e-5


def test_verify_needs_no_trace_where_connections_made_the_graph() -> None:
    class Slopes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = conv(3, 4), conv(4, 2)

        def forward(self, image: Tensor) -> Tensor:
            return self.last(self.first(image)) if slope(image).sum() < 1e9 else image

    model = Slopes().eval()
    graph = ChannelGraph.trace(
        model, IMAGE, connections=lambda layer, i, to: i if (layer, to) == ("first", "last") else None
    )
    assert verify(model, graph, [0, 2], IMAGE) < 1e-5


def test_verify_changes_nothing() -> None:
    model, inputs = make("group norm")
    graph = ChannelGraph.trace(model, inputs)
    before = copy.deepcopy(model.state_dict())
    count = len(graph)
    verify(model.train(), graph, draw(graph, 0), inputs)
    assert model.training
    assert len(graph) == count
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "name", ["layer norm", "group norm", "spatial attention", "spectral norm", "softmax over channels"]
)
def test_channels_that_a_normalization_mixes_are_marked(name: str) -> None:
    model, inputs = make(name)
    graph = ChannelGraph.trace(model, inputs)
    assert graph.mixing.any()
    assert set(graph.mixed) <= set(graph.layers)
    for layer in graph.mixed:
        assert graph.mixing[graph.layers[layer]].any()
    smaller = draw(graph, 0)
    cut(model, graph, smaller)
    assert len(graph.mixing) == len(graph)


@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        (lambda m, y: y.shape[1], "code of the model"),
        (lambda m, y: y.size(1), "code of the model"),
        (lambda m, y: y.size()[-3], "code of the model"),
        (lambda m, y: [*y.shape][1], "code of the model"),
        (lambda m, y: (y.shape[:2] + y.shape[3:])[1], "code of the model"),
        (lambda m, y: y.shape[1:].numel() // 64, "code of the model"),
        (lambda m, y: y.numel() // (2 * 64), "code of the model"),
        (lambda m, y: len(y.movedim(1, 0)), "code of the model"),
        (lambda m, y: y.numpy().shape[1], "code of the model"),
        (lambda m, y: len(m.first.weight), "code of the model"),
        (lambda m, y: m.first.out_channels, "code behind first"),
        (lambda m, y: (lambda layer: layer.out_channels)(m.first), "code behind first"),
        (lambda m, y: _channels(y), "code behind first"),
    ],
)
def test_a_number_that_the_code_gets_hold_of_is_noticed(asks: Callable, expected: str) -> None:
    """However Python comes by a width, a scale made of it differs between cut and masked."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        return m.last(torch.relu(m.second(y * math.sqrt(asks(m, y)))))

    model = Apply(forward, first=conv(3, 8), second=conv(8, 6), last=conv(6, 2)).eval()
    model.asks = asks
    graph = ChannelGraph.trace(model, IMAGE)
    assert graph.frozen["first"].startswith(f"{expected} needs its number of channels")
    assert graph.prunable[graph.layers["second"]].all()


@torch.jit.script
def _channels(y: Tensor) -> int:
    return y.shape[1]


@pytest.mark.parametrize(
    "asks", [lambda y: y.shape[2], lambda y: y.size(-1), lambda y: y.shape[2:].numel(), lambda y: y.dim(), lambda y: 2]
)
def test_sizes_of_other_dimensions_need_no_trial(asks: Callable) -> None:
    model = Apply(lambda m, x: m.last(m.first(x) * asks(x)), first=conv(3, 8), last=conv(8, 2)).eval()
    assert forward_passes(model, (IMAGE,)) == 1


class Attention(nn.Module):
    """Heads as wide as the incoming channels over their number, which an attribute holds."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.all, self.last = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        count, places, width = tokens.shape
        split = self.all(tokens).reshape(count, places, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        weights = (0.5 * query @ key.mT).softmax(-1)
        return self.last((weights @ value).transpose(1, 2).reshape(count, places, width))


class Attending(nn.Module):
    """Blocks of attention, each added to what it reads."""

    def __init__(self, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.first, self.head = conv(3, width), conv(width, 2)
        self.blocks = nn.ModuleList(Attention(width, heads) for _ in range(blocks))

    def forward(self, image: Tensor) -> Tensor:
        image = self.first(image)
        count, _, *sides = image.shape
        tokens = image.flatten(2).mT
        for block in self.blocks:
            tokens = tokens + block(tokens)
        return self.head(tokens.mT.reshape(count, -1, *sides))


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize(("width", "heads"), [(6, 3), (9, 3), (12, 2), (12, 3), (16, 4), (18, 3), (24, 3), (24, 6)])
def test_a_stream_and_the_heads_that_divide_it_do_not_lose_the_same_share_by_chance(
    width: int, heads: int, blocks: int
) -> None:
    torch.manual_seed(0)
    model = Attending(width, heads, blocks).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    assert not bool(graph.prunable.any())  # the division would give another width of a head than there is
    assert "needs its number of channels" in graph.frozen["first"]


def test_claims_that_passed_by_chance_are_found_in_the_end() -> None:
    claims = [Claim((f"op {number}",), (number,), False) for number in range(5)]

    class Trial:
        count = 0

        def __call__(self, claims: list[Claim]) -> str | None:
            guilty = {2, 4} & {claim.groups[0] for claim in claims}
            return f"{sorted(guilty)} fail" if guilty else None

    assert [claim.groups[0] for claim in missed(claims, {claims[4]: "known"}, Trial())] == [2]
    assert missed(claims, {claims[2]: "known", claims[4]: "known"}, Trial()) == {}
