"""Sizes that a model's own code holds are set along with a cut, where a trial shows that this is enough."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_lab.common.copies import copy_of
from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.cutting.cut import cut
from tests.graph.helpers import cut_against_masked, draw
from tests.networks.parts import conv

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class PaddedShortcut(nn.Module):
    """A residual whose shortcut gets zero channels in front and behind; the amounts are held as a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 6), conv(6, 12), conv(12, 2)
        self.amounts = (0, 0, 0, 0, 2, 4)

    def forward(self, image: Tensor) -> Tensor:
        small = torch.relu(self.first(image))
        return self.last(torch.relu(self.second(small) + functional.pad(small, self.amounts)))


class FilledShortcut(nn.Module):
    """The same with zeros that are concatenated up to a held number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 6), conv(6, 12), conv(12, 2)
        self.wide = 12

    def forward(self, image: Tensor) -> Tensor:
        small = torch.relu(self.first(image))
        zeros = small.new_zeros(small.shape[0], self.wide - small.shape[1], *small.shape[2:])
        return self.last(torch.relu(self.second(small) + torch.cat([small, zeros], 1)))


class PartlyCalledShortcut(nn.Module):
    """The same, where the number is an argument of a partially called function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 6), conv(6, 12), conv(12, 2)
        self.shortcut = functools.partial(self._filled, wide=12)

    def _filled(self, small: Tensor, wide: int) -> Tensor:
        return torch.cat([small, torch.zeros(len(small), wide - small.size(1), *small.shape[2:])], 1)

    def forward(self, image: Tensor) -> Tensor:
        small = torch.relu(self.first(image))
        return self.last(torch.relu(self.second(small) + self.shortcut(small)))


class TokensToImage(nn.Module):
    """Tokens that become an image again by a shape that is held as a list, without the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.last = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 8), nn.Conv2d(8, 2, 1)
        self.view_shape = [4, 4, 8]

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.embed(image).flatten(2).transpose(1, 2)
        tokens = tokens + self.mix(tokens)
        return self.last(tokens.view([tokens.shape[0], *self.view_shape]).permute(0, 3, 1, 2))


class NormOfSingles(nn.Module):
    """A group norm with as many groups as channels is an instance norm: its number of groups follows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = conv(3, 8), nn.GroupNorm(8, 8), conv(8, 2)
        nn.init.normal_(self.norm.weight)

    def forward(self, image: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(image))))


class VectorToImage(nn.Module):
    """A vector becomes an image that a convolution reads: whole channels of it can leave."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.code, self.up = nn.Conv2d(3, 4, 4, 4), nn.Linear(16, 5), nn.Linear(5, 6 * 2 * 2)
        self.read, self.last = conv(6, 7), conv(7, 2)
        self.channels = 6

    def forward(self, image: Tensor) -> Tensor:
        code = self.code(self.down(image).flatten(1))
        grown = torch.relu(self.up(code)).view(-1, self.channels, 2, 2)
        return self.last(torch.relu(self.read(grown)))


class WholeHeads(nn.Module):
    """Attention with the default scale: the width of a head stays, so whole heads leave."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(3, 12) for _ in range(3))
        self.last, self.heads = nn.Linear(12, 2), 4

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            layer(tokens).unflatten(-1, (self.heads, 3)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(query, key, value)
        return self.last(seen.transpose(1, 2).flatten(2))


NETWORKS = {
    PaddedShortcut: (IMAGE, {"last"}, "amounts"),
    FilledShortcut: (IMAGE, {"last"}, "wide"),
    PartlyCalledShortcut: (IMAGE, {"last"}, "shortcut.wide"),
    TokensToImage: (IMAGE, {"last"}, "view_shape"),
    NormOfSingles: (IMAGE, {"last"}, "num_groups"),
    VectorToImage: (IMAGE, {"last"}, "channels"),
    WholeHeads: (IMAGE.flatten(2).transpose(1, 2), {"last"}, "heads"),
}
"""Network -> what it reads, the layers that can't be cut, and the attribute that must follow."""


@pytest.mark.parametrize("network", NETWORKS)
def test_what_holds_a_size_follows_the_cut(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    image, frozen, attribute = NETWORKS[network]
    model = network().eval()
    graph = ChannelGraph.trace(model, image)
    assert set(graph.frozen) == frozen
    assert attribute in {held.attribute for held in graph.held}
    for seed in range(3):
        groups = draw(graph, seed)
        assert verify(model, graph, groups, image) < 1e-6
        assert cut_against_masked(model, graph, groups, (image,)) < 1e-4
    cut(model, graph, draw(graph, 0))
    assert model(image).shape == network()(image).shape


def test_a_partially_called_function_of_the_original_keeps_its_number() -> None:
    original = PartlyCalledShortcut().eval()
    graph = ChannelGraph.trace(original, IMAGE)
    model = copy_of(original)
    cut(model, graph, draw(graph, 0))
    assert original.shortcut.keywords == {"wide": 12} != model.shortcut.keywords


def test_zeros_of_a_shortcut_leave_with_what_they_meet() -> None:
    model = PaddedShortcut().eval()
    graph = ChannelGraph.trace(model, IMAGE)
    front, shared, back = (int(graph.layers["second"][index]) for index in (1, 2, 9))
    assert graph.group(front).filters == [("second", 1)]
    assert graph.group(shared).filters == [("first", 0), ("second", 2)]
    cut(model, graph, [front, shared, back])
    assert model.amounts == (0, 0, 0, 0, 1, 3)


def test_a_whole_head_is_one_group() -> None:
    tokens = IMAGE.flatten(2).transpose(1, 2)
    model = WholeHeads().eval()
    graph = ChannelGraph.trace(model, tokens)
    group = graph.group(int(graph.layers["query"][4]))
    assert group.filters == [(name, index) for name in ("query", "key", "value") for index in (3, 4, 5)]
    cut(model, graph, [0, 2])
    assert model.heads == 2


class Unturned(nn.Module):
    """[pixels, channels] is read as [channels, height, width] without a transpose: right at one size by chance."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 8), conv(8, 2)

    def forward(self, image: Tensor) -> Tensor:
        features = self.first(image)
        count, _, height, width = features.shape
        tokens = features.flatten(2).transpose(1, 2)
        return self.last(torch.relu(tokens.reshape(count, -1, height, width)) + features)


def test_channels_that_only_one_size_of_image_keeps_apart_stay() -> None:
    graph = ChannelGraph.trace(Unturned().eval(), torch.randn(1, 3, 2, 2))
    assert not graph.prunable.any()


def test_padding_with_what_a_tensor_holds_crops_no_channel() -> None:
    """Circular padding along channels repeats them, so that they stay."""

    class Circular(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 6), nn.Linear(8, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.last(functional.pad(self.first(tokens), (1, 1), mode="circular"))

    graph = ChannelGraph.trace(Circular().eval(), torch.randn(2, 5, 3))
    assert "first" in graph.frozen
