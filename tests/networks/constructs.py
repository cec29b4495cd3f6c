"""Small networks, one for each construct that a channel graph must understand, and the inputs they take.

Every network ends in a convolution or a linear layer of its own, so that what comes before it can be cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from tests.networks.attending import (
    attention,
    convnext_block,
    gated_attention,
    gated_linear_unit,
    multihead,
    position_attention,
    radix_softmax,
    spatial_attention,
    split_pyramid,
    squeeze_excite,
    squeeze_excite_linear,
    windows,
)
from tests.networks.parts import Apply, Scale, conv, sequence


def residual() -> nn.Module:
    return Apply(
        lambda m, x: m.last(functional.relu((y := m.first(x)) + m.norm(m.second(functional.relu(y))))),
        first=conv(3, 8),
        second=conv(8, 8),
        norm=nn.BatchNorm2d(8),
        last=conv(8, 2, 1),
    )


def dense() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        features = [x, m.one(x)]
        features.append(functional.relu(m.two(torch.cat(features, 1))))
        features.append(functional.relu(m.three(torch.cat(features[::-1], 1))))
        return m.last(torch.cat(features, 1))

    return Apply(forward, one=conv(3, 4), two=conv(7, 5), three=conv(12, 6), last=conv(18, 2))


def chunked() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        one, other = functional.relu(m.first(x)).chunk(2, dim=1)
        return m.last(torch.cat([one, m.middle(other)], 1) * 2)

    return Apply(forward, first=conv(3, 8), middle=conv(4, 6), last=conv(10, 2))


def split_by_size() -> nn.Module:
    """split(4) holds a number: eight channels are two parts, six would be parts of four and two."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        one, other = m.first(x).split(4, dim=1)
        return m.last(one + m.middle(other))

    return Apply(forward, first=conv(3, 8), middle=conv(4, 4), last=conv(4, 2))


def halves_by_slice() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        half = y.shape[1] // 2
        return m.last(torch.sigmoid(y[:, :half]) * y[:, half:])

    return Apply(forward, first=conv(3, 8), last=conv(4, 2))


def slice_by_number() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        return m.last(m.middle(y[:, :5])) + y.mean((1, 2, 3), keepdim=True)

    return Apply(forward, first=conv(3, 8), middle=conv(5, 6), last=conv(6, 2))


def padded_channels() -> nn.Module:
    """A shortcut that pads channels with zeros, as ResNets for CIFAR do."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = functional.relu(m.first(x))
        return m.last(functional.relu(m.second(y) + functional.pad(y, (0, 0, 0, 0, 2, 2))))

    return Apply(forward, first=conv(3, 4), second=conv(4, 8), last=conv(8, 2))


def padded_to_number() -> nn.Module:
    """The same, but the padding is made up to a number that the code holds."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = functional.relu(m.first(x))
        return m.last(functional.relu(m.second(y) + functional.pad(y, (0, 0, 0, 0, 0, 8 - y.shape[1]))))

    return Apply(forward, first=conv(3, 4), second=conv(4, 8), last=conv(8, 2))


def shared() -> nn.Module:
    """One module runs twice, and another holds the same weight under a second name."""
    net = Apply(
        lambda m, x: m.last(functional.relu(m.twice(functional.relu(m.twice(m.first(x))))) + m.alias(m.first(x))),
        first=conv(3, 6),
        twice=conv(6, 6),
        alias=conv(6, 6),
        last=conv(6, 2),
    )
    net.alias.weight = net.twice.weight
    return net


def cat_with_itself() -> nn.Module:
    return Apply(
        lambda m, x: m.last(torch.cat([y := functional.relu(m.first(x)), y, m.second(y)], 1)),
        first=conv(3, 5),
        second=conv(5, 3),
        last=conv(13, 2),
    )


def several_inputs() -> nn.Module:
    return Apply(
        lambda m, image, other: m.last(
            torch.cat([m.one(image), functional.interpolate(m.two(other), size=image.shape[2:])], 1)
        ),
        one=conv(3, 5),
        two=conv(2, 4),
        last=conv(9, 2),
    )


def nested_outputs() -> nn.Module:
    return Apply(
        lambda m, x: {"out": m.last(y := functional.relu(m.first(x))), "more": (m.other(y), [m.third(y)])},
        first=conv(3, 8),
        last=conv(8, 2),
        other=conv(8, 3),
        third=conv(8, 1),
    )


@dataclass
class Outputs:
    """What a model of some other library may return."""

    scores: Tensor
    features: list[Tensor]
    note: str = "not a tensor"


def dataclass_outputs() -> nn.Module:
    return Apply(
        lambda m, x: Outputs(m.last(y := functional.relu(m.second(m.first(x)))), [y.mean((1, 2, 3))]),
        first=conv(3, 8),
        second=conv(8, 6),
        last=conv(6, 2),
    )


def patches_and_back() -> nn.Module:
    """Unfold and fold: each channel is as many as the kernel has places, and then one again."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        columns = functional.unfold(m.first(x), 2, stride=2) * 2
        return m.last(functional.fold(torch.tanh(columns), x.shape[2:], 2, stride=2))

    return Apply(forward, first=conv(3, 6), last=conv(6, 2))


def interleaved() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        return m.last(y[:, ::2] * torch.sigmoid(y[:, 1::2]))

    return Apply(forward, first=conv(3, 8), last=conv(4, 2))


def without_gradient() -> nn.Module:
    """A part of forward runs under no_grad, and operators work in place."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x).relu_()
        with torch.no_grad():
            gate = torch.sigmoid(m.gate(y)).mul_(2)
        return m.last((y * gate).add_(1))

    return Apply(forward, first=conv(3, 8), gate=conv(8, 8), last=conv(8, 2))


def flatten_to_linear() -> nn.Module:
    return nn.Sequential(
        conv(3, 6), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(24, 10), nn.ReLU(), nn.Linear(10, 3)
    )


def einsum_layer() -> nn.Module:
    """Einsum as a layer: a parameter is contracted with the channels."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = functional.relu(m.first(x))
        mixed = torch.einsum("bchw,oc->bohw", y, m.mix.weight)
        return m.last(torch.einsum("bchw,bdhw->bcd", mixed, m.other(y)).flatten(1))

    return Apply(forward, first=conv(3, 6), mix=nn.Linear(6, 5, bias=False), other=conv(6, 4), last=nn.Linear(20, 3))


def shuffled() -> nn.Module:
    """ShuffleNet's unit: channels are shuffled by a view, then halved."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = functional.relu(m.first(x))
        count, channels, height, width = y.shape
        y = y.view(count, 2, channels // 2, height, width).transpose(1, 2).reshape(count, -1, height, width)
        one, other = y.chunk(2, dim=1)
        return m.last(torch.cat([one, m.middle(other)], 1))

    return Apply(forward, first=conv(3, 8), middle=conv(4, 4), last=conv(8, 2))


def old_weight_norm() -> nn.Module:
    return sequence(
        torch.nn.utils.weight_norm(conv(3, 8)), nn.ReLU(), torch.nn.utils.weight_norm(conv(8, 6)), conv(6, 2)
    )


def old_spectral_norm() -> nn.Module:
    return sequence(
        torch.nn.utils.spectral_norm(conv(3, 8)), nn.ReLU(), torch.nn.utils.spectral_norm(conv(8, 6)), conv(6, 2)
    )


def training_head() -> nn.Module:
    """An auxiliary head that only training runs."""

    def forward(m: nn.Module, x: Tensor) -> object:
        y = functional.relu(m.first(x))
        out = m.last(functional.relu(m.second(y)))
        return (out, m.auxiliary_last(m.auxiliary(y))) if m.training else out

    return Apply(
        forward,
        first=conv(3, 8),
        second=conv(8, 8),
        last=conv(8, 2),
        auxiliary=conv(8, 4),
        auxiliary_last=conv(4, 2),
    )


@dataclass(frozen=True)
class Case:
    """How a network is made, the shape of its inputs, and whether a normalization in it mixes channels."""

    build: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...] = ((2, 3, 8, 8),)
    mixes: bool = False


VOLUME = ((2, 3, 4, 4, 4),)


CASES: dict[str, Case] = {
    "plain": Case(
        lambda: sequence(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 6, stride=2, dilation=2), conv(6, 2))
    ),
    "residual": Case(residual),
    "dense connections": Case(dense),
    "cat of a tensor with itself": Case(cat_with_itself),
    "several inputs": Case(several_inputs, ((2, 3, 8, 8), (2, 2, 4, 4))),
    "dict and tuple outputs": Case(nested_outputs),
    "flatten to linear": Case(flatten_to_linear),
    "pixel shuffle": Case(lambda: sequence(conv(3, 12), nn.PixelShuffle(2), conv(3, 6), nn.ReLU(), conv(6, 2))),
    "pixel unshuffle": Case(lambda: sequence(conv(3, 4), nn.PixelUnshuffle(2), conv(16, 6), conv(6, 2))),
    "channel shuffle": Case(lambda: sequence(conv(3, 8), nn.ChannelShuffle(2), conv(8, 6), conv(6, 2))),
    "channel shuffle by view": Case(shuffled),
    "chunk": Case(chunked),
    "split by a size": Case(split_by_size),
    "parts run through each other": Case(split_pyramid),
    "slices at half": Case(halves_by_slice),
    "slice at a number": Case(slice_by_number, mixes=True),
    "channel padding": Case(padded_channels),
    "channel padding up to a number": Case(padded_to_number),
    "depthwise": Case(lambda: sequence(conv(3, 8), conv(8, 8, groups=8), nn.ReLU6(), conv(8, 2))),
    "depthwise multiplier 2": Case(lambda: sequence(conv(3, 6), conv(6, 12, groups=6), nn.ReLU(), conv(12, 2))),
    "one filter for each group of inputs": Case(lambda: sequence(conv(3, 8), conv(8, 4, groups=4), conv(4, 2))),
    "grouped, other groups before and after": Case(
        lambda: sequence(
            conv(3, 12), conv(12, 12, groups=2), nn.ReLU(), conv(12, 12, groups=3), conv(12, 8, groups=4), conv(8, 2)
        )
    ),
    "shared convolution": Case(shared),
    "weight norm": Case(
        lambda: sequence(
            parametrizations.weight_norm(conv(3, 8)), nn.ReLU(), parametrizations.weight_norm(conv(8, 6)), conv(6, 2)
        ),
        mixes=True,
    ),
    "weight norm, old style": Case(old_weight_norm, mixes=True),
    "spectral norm": Case(
        lambda: sequence(
            parametrizations.spectral_norm(conv(3, 8)),
            nn.ReLU(),
            parametrizations.spectral_norm(conv(8, 6)),
            conv(6, 2),
        ),
        mixes=True,
    ),
    "spectral norm, old style": Case(old_spectral_norm, mixes=True),
    "PReLU": Case(lambda: sequence(conv(3, 8), nn.PReLU(8), conv(8, 6), nn.PReLU(), conv(6, 2))),
    "instance norm": Case(
        lambda: sequence(conv(3, 8), nn.InstanceNorm2d(8, affine=True), conv(8, 6), nn.InstanceNorm2d(6), conv(6, 2))
    ),
    "group norm": Case(lambda: sequence(conv(3, 8), nn.GroupNorm(2, 8), nn.ReLU(), conv(8, 2)), mixes=True),
    "layer norm": Case(convnext_block, mixes=True),
    "softmax over channels": Case(lambda: sequence(conv(3, 8), nn.Softmax(dim=1), conv(8, 2)), mixes=True),
    "squeeze-excite": Case(squeeze_excite),
    "squeeze-excite by linear layers": Case(squeeze_excite_linear),
    "spatial attention": Case(spatial_attention, mixes=True),
    "gated attention": Case(gated_attention),
    "position attention": Case(position_attention),
    "radix softmax": Case(radix_softmax),
    "scale by a parameter": Case(lambda: sequence(conv(3, 8), Scale(8), nn.ReLU(), conv(8, 2))),
    "transposed": Case(lambda: sequence(conv(3, 8), nn.ConvTranspose2d(8, 6, 2, stride=2), nn.ReLU(), conv(6, 2))),
    "transposed, depthwise": Case(
        lambda: sequence(conv(3, 6), nn.ConvTranspose2d(6, 6, 4, 2, 1, groups=6, bias=False), conv(6, 2))
    ),
    "transposed, depthwise multiplier 2": Case(
        lambda: sequence(conv(3, 4), nn.ConvTranspose2d(4, 8, 2, 2, groups=4), conv(8, 2))
    ),
    "transposed, grouped": Case(
        lambda: sequence(conv(3, 8), nn.ConvTranspose2d(8, 12, 3, 2, 1, 1, groups=2), nn.ReLU(), conv(12, 2))
    ),
    "1d": Case(
        lambda: sequence(
            nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.ConvTranspose1d(8, 6, 2), nn.Conv1d(6, 2, 1)
        ),
        ((2, 3, 12),),
    ),
    "3d": Case(
        lambda: sequence(
            nn.Conv3d(3, 8, 3, padding=1),
            nn.BatchNorm3d(8),
            nn.MaxPool3d(2),
            nn.ConvTranspose3d(8, 6, 2),
            nn.Conv3d(6, 2, 1),
        ),
        VOLUME,
    ),
    "einsum": Case(einsum_layer),
    "attention with its own scale": Case(lambda: attention(0.4), ((2, 3, 4, 4),)),
    "attention with the default scale": Case(lambda: attention(None), ((2, 3, 4, 4),)),
    "MultiheadAttention": Case(multihead, ((2, 3, 4, 4),)),
    "outputs in a dataclass": Case(dataclass_outputs, mixes=True),
    "gated linear unit": Case(gated_linear_unit),
    "unfold and fold": Case(patches_and_back),
    "interleaved slices": Case(interleaved),
    "in place, and without gradient": Case(without_gradient),
    "windows": Case(windows),
    "head that only training runs": Case(training_head),
}


def make(name: str, seed: int = 0) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network in evaluation mode with running statistics that are not the initial ones, and its inputs."""
    torch.manual_seed(seed)
    model = CASES[name].build()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return model.eval(), tuple(torch.randn(shape) for shape in CASES[name].shapes)
