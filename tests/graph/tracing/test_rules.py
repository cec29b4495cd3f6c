"""Operators between two convolutions: those that leave channels in their places let all of them be cut, exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.graph import ChannelGraph, verify
from tests.graph.helpers import draw
from tests.networks.parts import Apply, conv

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CHANNELS = 16


def set_to(place: object, value: object) -> Callable[[Tensor], Tensor]:
    """A copy in which `x[place] = value`."""

    def between(x: Tensor) -> Tensor:
        copied = x.clone()
        copied[place(x) if callable(place) else place] = value(x) if callable(value) else value
        return copied

    return between


def halves(x: Tensor) -> Tensor:
    """Twice the channels, written one half after the other."""
    width = x.shape[1]
    both = x.new_zeros(2, 2 * width, 8, 8)
    both[:, :width], both[:, width:] = x, -x
    return both[:, :width] + 2 * both[:, width:]


def grid(x: Tensor) -> Tensor:
    return F.affine_grid(torch.eye(2, 3)[None].repeat(2, 1, 1), [2, 1, 8, 8], align_corners=False)


EVERY = slice(None)
PLACES = torch.zeros(1, 1, 3, 8, dtype=torch.int64)

SIDES: dict[str, Callable[[Tensor], Tensor]] = {
    "slice": lambda x: x[:, :, 1:7],
    "narrow": lambda x: x.narrow(2, 1, 6),
    "rot90": lambda x: x.rot90(1, (2, 3)),
    "flip": lambda x: x.flip(3),
    "roll": lambda x: x.roll(1, 2),
    "tril": lambda x: x.tril(),
    "triu": lambda x: x.triu(1),
    "cumsum": lambda x: x.cumsum(2),
    "logcumsumexp": lambda x: x.logcumsumexp(2),
    "cummax": lambda x: x.cummax(2)[0],
    "sort": lambda x: x.sort(2)[0],
    "stable sort": lambda x: x.sort(dim=2, stable=True)[0],
    "topk": lambda x: x.topk(4, 2)[0],
    "kthvalue": lambda x: x.kthvalue(2, 2, True)[0],
    "median": lambda x: x.median(2, True)[0],
    "mode": lambda x: x.mode(2, True)[0],
    "quantile": lambda x: x.quantile(0.5, 2, True),
    "diagonal": lambda x: x.diagonal(dim1=2, dim2=3).unsqueeze(-1),
    "diag_embed": lambda x: x.mean(3).diag_embed(),
    "bucketize": lambda x: torch.bucketize(x, torch.tensor([0.0, 1.0])).float(),
    "unbind, stack": lambda x: torch.stack(x.unbind(2), 2),
    "unequal split": lambda x: torch.cat(x.split([3, 5], 2), 2),
    "tensor_split": lambda x: torch.cat(x.tensor_split((2, 5), 2), 2),
    "unfold": lambda x: F.fold(F.unfold(x, 2, stride=2), (8, 8), 2, stride=2),
    "tensor unfold": lambda x: x.unfold(2, 2, 2).mean(-1),
    "fft": lambda x: torch.fft.ifft2(torch.fft.fft2(x)).real,
    "rfft": lambda x: torch.fft.irfft2(torch.fft.rfft2(x)),
    "complex": lambda x: torch.view_as_real(torch.view_as_complex(torch.stack([x, x], -1))).sum(-1),
    "grid_sample": lambda x: F.grid_sample(x, grid(x), align_corners=False),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
    "nearest-exact": lambda x: F.interpolate(x, (5, 5), mode="nearest-exact"),
    "area": lambda x: F.interpolate(x, (4, 4), mode="area"),
    "bicubic": lambda x: F.interpolate(x, (5, 5), mode="bicubic"),
    "antialiased": lambda x: F.interpolate(x, (5, 5), mode="bicubic", antialias=True),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, 2),
    "lp pool": lambda x: F.lp_pool2d(x, 2, 2),
    "fractional": lambda x: F.fractional_max_pool2d(x, 2, (4, 4), _random_samples=x.new_zeros(2, x.shape[1], 2)),
    "unpool": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "pixel shuffles": lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2),
    "circular pad": lambda x: F.pad(x, (1, 1, 1, 1), "circular"),
    "crop": lambda x: F.pad(x, (-1, -1, -1, -1)),
    "batched product": lambda x: x @ x.mT,
    "softmax": lambda x: F.softmax(x, 2),
    "glu": lambda x: F.glu(x, 2),
    "log sigmoid": F.logsigmoid,
    "norm of a side": lambda x: x.norm(dim=2, keepdim=True),
    "nanmean": lambda x: x.nanmean(2, True),
    "count": lambda x: x * x.count_nonzero(2).unsqueeze(2),
    "all": lambda x: x * (x > 0).all(2, True),
}

PICKS: dict[str, Callable[[Tensor], Tensor]] = {
    "list": lambda x: x[:, :, [0, 2]],
    "pairs": lambda x: x[:, :, [0, 2], [1, 3]].unsqueeze(-1),
    "grid": lambda x: x[:, :, torch.arange(4)[:, None], torch.arange(4)],
    "index_select": lambda x: x.index_select(2, torch.tensor([0, 2])),
    "take_along_dim": lambda x: x.take_along_dim(PLACES, 2),
    "gather": lambda x: x.gather(2, PLACES.expand(2, x.shape[1], -1, -1)),
    "scatter": lambda x: x.scatter(2, PLACES.expand(2, x.shape[1], -1, -1), 0.0),
    "index_add": lambda x: x.index_add(2, torch.tensor([0]), x[:, :, :1]),
    "index_fill": lambda x: x.index_fill(2, torch.tensor([0]), 0),
    "index_copy": lambda x: x.index_copy(2, torch.tensor([0]), x[:, :, 1:2]),
    "slice_scatter": lambda x: x.slice_scatter(x[:, :, :2], 2, 2, 4),
    "select_scatter": lambda x: x.select_scatter(x[:, :, 0], 2, 1),
    "mask": lambda x: x.masked_fill(x > 0, 0.0),
}

WRITES: dict[str, Callable[[Tensor], Tensor]] = {
    "a side": set_to((EVERY, EVERY, slice(4)), 0),
    "a place": set_to((EVERY, EVERY, 2, 3), 1.5),
    "a list": set_to((EVERY, EVERY, [0, 2]), 0),
    "where": set_to(lambda x: x < 0, 0),
    "a part": set_to((EVERY, EVERY, slice(1, 7)), lambda x: x[:, :, 2:8]),
    "all": set_to(EVERY, lambda x: -x),
    "halves": halves,
    "zeros": lambda x: torch.zeros(x.shape).add_(x),
    "empty": lambda x: torch.empty_like(x).copy_(x),
}

SIZES: dict[str, Callable[[Tensor], Tensor]] = {
    "new_zeros": lambda x: x + x.new_zeros(x.shape),
    "full": lambda x: x + torch.full((2, x.shape[1], 8, 8), 0.5),
    "ones": lambda x: x * x.new_ones(x.shape[1], 1, 1),
    "repeat": lambda x: x * x.amax(1, keepdim=True).repeat(1, x.shape[1], 1, 1),
    "tile": lambda x: x * x.amax(1, keepdim=True).tile(1, x.shape[1], 1, 1),
    "expand": lambda x: x * x.amax(1, keepdim=True).expand(-1, x.shape[1], -1, -1),
    "expand_as": lambda x: x - x.mean(1, keepdim=True).expand_as(x),
    "broadcast_tensors": lambda x: sum(torch.broadcast_tensors(x, x.mean(1, keepdim=True))),
    "blur": lambda x: F.conv2d(x, torch.full((1, 1, 3, 3), 1 / 9).repeat(x.shape[1], 1, 1, 1), groups=x.shape[1]),
    "up": lambda x: F.conv_transpose2d(x, torch.ones(x.shape[1], 1, 2, 2), stride=2, groups=x.shape[1]),
    "zeros behind": lambda x: torch.cat([x, torch.zeros(2, 1, 8, 8)], 1)[:, : x.shape[1]],
    "every channel alone": lambda x: F.avg_pool2d(x.flatten(0, 1).unsqueeze(1), 3, 1, 1).view_as(x),
}

OVER_CHANNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "normalize": lambda x: F.normalize(x, dim=1),
    "norm": lambda x: x / x.norm(),
    "norm of order 1": lambda x: x.norm(1, 1, True) * x,
    "linalg.norm": lambda x: x / torch.linalg.norm(x, dim=1, keepdim=True),
    "std": lambda x: x / x.std(1, keepdim=True),
    "median": lambda x: x - x.median(1, keepdim=True)[0],
    "aminmax": lambda x: x - torch.aminmax(x, dim=1, keepdim=True)[0],
    "any": lambda x: x * (x > 0).any(1, True),
    "distance": lambda x: x * torch.dist(x, x + 1),
    "loss": lambda x: x * F.mse_loss(x, 2 * x),
    "cosine": lambda x: x * F.cosine_similarity(x, x + 1, 1).unsqueeze(1),
    "layer norm": lambda x: F.layer_norm(x.movedim(1, -1), (x.shape[1],)).movedim(-1, 1),
}

CASES = {
    f"{kind}: {name}": function
    for kind, functions in {
        "along the sides": SIDES,
        "by position": PICKS,
        "written": WRITES,
        "of its size": SIZES,
        "over channels": OVER_CHANNELS,
    }.items()
    for name, function in functions.items()
}


def between(function: Callable[[Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(0)
    return Apply(lambda m, x: m.last(function(m.first(x))), first=conv(3, CHANNELS), last=conv(CHANNELS, 2)).eval()


@pytest.mark.parametrize("name", CASES)
def test_all_channels_can_be_cut_exactly(name: str) -> None:
    model = between(CASES[name])
    graph = ChannelGraph.trace(model, IMAGE)
    assert graph.prunable[graph.layers["first"]].all(), graph.frozen
    assert verify(model, graph, draw(graph, 0), IMAGE) < 1e-6


def test_a_layer_that_is_written_into_a_part_of_another_is_read() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x).clone()
        y[:, : y.shape[1] // 2] = m.other(x)
        return m.last(y)

    model = Apply(forward, first=conv(3, 8), other=conv(3, 4), last=conv(8, 2)).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    assert graph.unused == []
    assert graph.group(1).filters == [("first", 1), ("first", 5), ("other", 1)]
    assert verify(model, graph, [1, 3], IMAGE) < 1e-6


def test_a_single_channel_that_is_picked_stays_and_the_others_can_go() -> None:
    model = between(lambda x: x * x[:, :1].sigmoid().expand_as(x))
    graph = ChannelGraph.trace(model, IMAGE)
    assert graph.frozen["first"] == "1 of 16 filters: slice picks single channels by position"
    assert not graph.prunable[0]
    assert verify(model, graph, draw(graph, 0), IMAGE) < 1e-6


def test_one_picked_from_the_end_leaves_those_before_it_free() -> None:
    graph = ChannelGraph.trace(between(lambda x: x * x[:, -1:].sigmoid()), IMAGE)
    assert not graph.prunable[15]
    assert graph.prunable[:15].all()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + torch.zeros(1, CHANNELS, 1, 1),
        lambda x: x * x.amax(1, keepdim=True).repeat(1, CHANNELS, 1, 1),
        lambda x: F.conv2d(x, torch.ones(CHANNELS, 1, 3, 3), groups=CHANNELS),
        lambda x: x + torch.arange(x.shape[1]).view(1, -1, 1, 1),
        lambda x: x.cumsum(1),
        lambda x: x.topk(3, 1)[0].repeat(1, 6, 1, 1)[:, :CHANNELS],
        lambda x: x[:, torch.arange(CHANNELS)],
    ],
    ids=["zeros", "repeat", "groups", "numbered", "cumsum", "topk", "list"],
)
def test_what_needs_the_number_or_the_place_of_channels_freezes_them(function: Callable[[Tensor], Tensor]) -> None:
    graph = ChannelGraph.trace(between(function), IMAGE)
    assert not graph.prunable.any()
    assert graph.frozen["first"]
