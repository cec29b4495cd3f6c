"""Random networks from all operators that the channel graph has rules for. Every feature keeps its height and width."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import strategies
from torch import Tensor, nn
from torch.nn import functional

from tests.networks.parts import Scale, conv

SIZE = 8
"""Height and width of all features."""

Draw = Callable[[strategies.SearchStrategy], int]


class Function(nn.Module):
    """A function of one or two features."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *features: Tensor) -> Tensor:
        return self.function(*features)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.expand = conv(channels, 3, 1), conv(3, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        return image * torch.sigmoid(self.expand(self.squeeze(image.mean((2, 3), keepdim=True))))


class Attention(nn.Module):
    """Pixels attend to pixels, with a scale of its own."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.query, self.key = conv(channels, width, 1), conv(channels, width, 1)
        self.value = conv(channels, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        query, key, value = (layer(image).flatten(2).mT for layer in (self.query, self.key, self.value))
        seen = functional.scaled_dot_product_attention(query, key, value, scale=0.3)
        return image + seen.mT.reshape(image.shape)


class Twice(nn.Module):
    """One convolution that runs twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = conv(channels, channels)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(torch.relu(self.layer(image)))


class Mix(nn.Module):
    """A 1x1 convolution as an einsum over a parameter."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, channels))

    def forward(self, image: Tensor) -> Tensor:
        return torch.einsum("nchw,oc->nohw", image, self.weight)


class ChannelsLastNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def halves(image: Tensor) -> Tensor:
    one, other = image.chunk(2, 1)
    return torch.cat([torch.tanh(other), one], 1)


def gated_halves(image: Tensor) -> Tensor:
    half = image.shape[1] // 2
    return image[:, :half] * torch.sigmoid(image[:, half:])


def up(image: Tensor) -> Tensor:
    return functional.interpolate(image, size=(SIZE, SIZE), mode="bilinear", align_corners=False)


def divisor(channels: int, wish: int) -> int:
    """The largest divisor of `channels` that is at most `wish`."""
    return next(one for one in range(min(wish, channels), 0, -1) if channels % one == 0)


UNARY: dict[str, Callable[[int, int], tuple[nn.Module, int]]] = {
    "conv": lambda c, n: (conv(c, n, 3), n),
    "dilated": lambda c, n: (nn.Conv2d(c, n, 3, padding=2, dilation=2), n),
    "pointwise": lambda c, n: (conv(c, n, 1, bias=False), n),
    "batch norm": lambda c, n: (nn.BatchNorm2d(c), c),
    "instance norm": lambda c, n: (nn.InstanceNorm2d(c, affine=bool(n % 2)), c),
    "group norm": lambda c, n: (nn.GroupNorm(divisor(c, 2), c), c),
    "layer norm": lambda c, n: (ChannelsLastNorm(c), c),
    "softmax": lambda c, n: (nn.Softmax(dim=1), c),
    "relu": lambda c, n: (nn.ReLU(inplace=bool(n % 2)), c),
    "swish": lambda c, n: (nn.Hardswish(), c),
    "prelu": lambda c, n: (nn.PReLU(c), c),
    "scale": lambda c, n: (Scale(c), c),
    "dropout": lambda c, n: (nn.Dropout2d(0.5), c),
    "depthwise": lambda c, n: (conv(c, c, groups=c), c),
    "depthwise, two each": lambda c, n: (conv(c, 2 * c, groups=c), 2 * c),
    "grouped": lambda c, n: (conv(c, (g := divisor(c, n)) * 2, groups=g), 2 * g),
    "transposed": lambda c, n: (nn.Sequential(nn.MaxPool2d(2), nn.ConvTranspose2d(c, n, 2, 2)), n),
    "transposed, grouped": lambda c, n: (
        nn.Sequential(nn.AvgPool2d(2), nn.ConvTranspose2d(c, 2 * (g := divisor(c, n)), 2, 2, groups=g)),
        2 * g,
    ),
    "down and up": lambda c, n: (nn.Sequential(conv(c, n, stride=2), Function(up)), n),
    "pixel shuffle": lambda c, n: (nn.Sequential(conv(c, 4 * n, 1), nn.PixelShuffle(2), nn.MaxPool2d(2)), n),
    "pixel unshuffle": lambda c, n: (nn.Sequential(nn.Upsample(scale_factor=2), nn.PixelUnshuffle(2)), 4 * c),
    "channel shuffle": lambda c, n: (nn.ChannelShuffle(divisor(c, 3)), c),
    "squeeze-excite": lambda c, n: (SqueezeExcite(c), c),
    "attention": lambda c, n: (Attention(c, n), c),
    "twice": lambda c, n: (Twice(c), c),
    "einsum": lambda c, n: (Mix(c, n), n),
    "weight norm": lambda c, n: (nn.utils.parametrizations.weight_norm(conv(c, n)), n),
    "spectral norm": lambda c, n: (nn.utils.parametrizations.spectral_norm(conv(c, n)), n),
    "padded": lambda c, n: (Function(lambda x: functional.pad(x, (0, 0, 0, 0, 1, n))), c + n + 1),
    "halves": lambda c, n: (Function(halves), c) if c % 2 == 0 else (nn.Identity(), c),
    "gated halves": lambda c, n: (Function(gated_halves), c // 2) if c % 2 == 0 else (nn.Identity(), c),
    "mean": lambda c, n: (Function(lambda x: x - x.mean(1, keepdim=True)), c),
}

BINARY: dict[str, Callable[[int, int], tuple[nn.Module, int]]] = {
    "cat": lambda a, b: (Function(lambda x, y: torch.cat([x, y], 1)), a + b),
    "add": lambda a, b: (Function(torch.add), a) if a == b else (Function(lambda x, y: x), a),
    "gate": lambda a, b: (Function(lambda x, y: x * torch.sigmoid(y)), a) if a == b else (Function(lambda x, y: y), b),
}


class RandomNetwork(nn.Module):
    """Steps (operator, source, other source, number) over a growing list of features, then a last convolution."""

    def __init__(self, steps: list[tuple[str, int, int, int]], seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        widths = [3]
        self.steps = nn.ModuleList()
        self.sources: list[tuple[int, ...]] = []
        for name, one, other, number in steps:
            # The latest features are the likeliest sources, so that the networks grow deep.
            places = [max(0, len(widths) - 1 - one % 3), max(0, len(widths) - 1 - other % len(widths))]
            if name in UNARY:
                module, width = UNARY[name](widths[places[0]], number)
                places = places[:1]
            else:
                module, width = BINARY[name](widths[places[0]], widths[places[1]])
            self.steps.append(module)
            self.sources.append(tuple(places))
            widths.append(width)
        self.last = conv(widths[-1] + widths[-2], 2)

    def forward(self, image: Tensor) -> Tensor:
        features = [image]
        for module, places in zip(self.steps, self.sources, strict=True):
            features.append(module(*(features[place] + 0 for place in places)))
        return self.last(torch.cat(features[-2:], 1))


@strategies.composite
def networks(draw: strategies.DrawFn) -> RandomNetwork:
    """A random network in double precision and evaluation mode, with running statistics that matter."""
    number = strategies.integers(2, 6)
    step = strategies.tuples(
        strategies.sampled_from([*UNARY, *BINARY, "conv", "cat", "add"]), number, strategies.integers(0, 9), number
    )
    steps = [("conv", 0, 0, draw(number)), *draw(strategies.lists(step, min_size=2, max_size=12))]
    network = RandomNetwork(steps, draw(strategies.integers(0, 99)))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.double().eval()
