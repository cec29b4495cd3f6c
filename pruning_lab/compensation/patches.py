"""What a reader multiplies its weights with: input patches at sampled places of its output, as rows of a matrix.

A convolution, a transposed convolution or a linear layer gives out `patches @ rows of its weights + bias`, group by
group. Knows modules and tensors; not what is made of the patches.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_IMAGES = 2**20
"""More images than are ever looked at, so that no two seeds draw the same."""


def is_reader(module: nn.Module | None) -> bool:
    """Whether a module's output is a matrix product of patches and weights that are a parameter of its own."""
    return isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))


def channels_of(module: nn.Module, activation: Tensor) -> Tensor:
    """[N, channels, places] of a reader's input or output."""
    if isinstance(module, nn.Linear):
        return activation.reshape(len(activation), -1, activation.shape[-1]).mT
    assert isinstance(module, nn.modules.conv._ConvNd)
    batched = activation if activation.dim() == len(module.kernel_size) + 2 else activation.unsqueeze(0)
    return batched.flatten(2)


def sampled_places(output: Tensor, count: int, seed: int = 0, first: int = 0) -> Tensor:
    """Places of an output [N, channels, places] that are looked at, int64 [N, count or fewer], ascending.

    Args:
        seed, first: what is drawn for an image depends on the seed and on the image's number alone; `first` is that of
            the first one.
    """
    places = output.shape[2]
    if count >= places:
        return torch.arange(places).expand(len(output), places)
    drawn = []
    for number in range(first, first + len(output)):
        generator = torch.Generator().manual_seed(seed * _IMAGES + number)
        drawn.append(torch.rand(places, generator=generator).topk(count).indices.sort().values)
    return torch.stack(drawn)


def with_doubles(tensor: Tensor) -> Tensor:
    """The tensor where it is, or on the CPU if its device has no float64 (Apple's MPS)."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


def rows_at(activation: Tensor, places: Tensor) -> Tensor:
    """The channels of [N, channels, places] at chosen places [N, count]: [N x count, channels]."""
    index = places.to(activation.device).unsqueeze(1).expand(-1, activation.shape[1], -1)
    return activation.gather(2, index).movedim(1, 2).flatten(0, 1)


def patches_at(module: nn.Module, inputs: Tensor, sides: tuple[int, ...], places: Tensor) -> Tensor:
    """What the filters see at chosen places of the output.

    Args:
        inputs: what the module reads.
        sides: height and width (or as many as there are) of its output; unused for linear layers.
        places: int64 [N, count], places of each image's output.

    Returns:
        [N x count, groups, weights per filter]; `weight_rows` has the weights in the same order.
    """
    if isinstance(module, nn.Linear):
        return rows_at(channels_of(module, inputs), places).unsqueeze(1)
    assert isinstance(module, nn.modules.conv._ConvNd)
    batched = inputs if inputs.dim() == len(sides) + 2 else inputs.unsqueeze(0)
    padded, stride = _padded(module, batched, sides)
    windows = padded
    for dim, (size, step, apart) in enumerate(zip(module.kernel_size, stride, module.dilation, strict=True), start=2):
        windows = windows.unfold(dim, apart * (size - 1) + 1, step)[..., ::apart]
    images = torch.arange(len(batched)).unsqueeze(1).expand_as(places)
    where = [part.flatten().to(inputs.device) for part in (images, *torch.unravel_index(places, sides))]
    index: Any = (where[0], slice(None), *where[1:])
    found = windows[index]
    return found.reshape(len(where[0]), module.groups, -1)


def weight_rows(module: nn.Module, weight: Tensor | None = None) -> Tensor:
    """The weights as `patches_at` meets them: [groups, filters per group, weights per filter]."""
    held = module.weight if weight is None else weight
    assert isinstance(held, Tensor)
    if isinstance(module, nn.Linear):
        return held.unsqueeze(0)
    assert isinstance(module, nn.modules.conv._ConvNd)
    groups = module.groups
    if module.transposed:
        blocks = held.reshape(groups, len(held) // groups, *held.shape[1:]).transpose(1, 2)
        return blocks.flip(list(range(3, blocks.dim()))).flatten(2)
    return held.reshape(groups, len(held) // groups, -1)


def rows_as_weight(module: nn.Module, rows: Tensor) -> Tensor:
    """The inverse of `weight_rows`, in the weight's own shape."""
    if isinstance(module, nn.Linear):
        return rows.squeeze(0)
    assert isinstance(module, nn.modules.conv._ConvNd)
    if module.transposed:
        blocks = rows.reshape(*rows.shape[:2], -1, *module.kernel_size)
        return blocks.flip(list(range(3, blocks.dim()))).transpose(1, 2).flatten(0, 1)
    return rows.reshape(module.weight.shape)


def weights_per_filter(module: nn.Module) -> int:
    """How many weights each filter has."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    if isinstance(module, nn.modules.conv._ConvNd) and module.transposed:
        return len(weight) // module.groups * math.prod(module.kernel_size)
    return weight[0].numel()


def _padded(module: nn.modules.conv._ConvNd, inputs: Tensor, sides: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """The input with its border, and the step from one window to the next.

    A transposed convolution is a convolution, in steps of one, of its input with zeros between.
    """
    if not module.transposed:
        around = _around(module)
        if not any(around):
            return inputs, module.stride
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        return F.pad(inputs, around, mode=mode), module.stride
    spread = inputs
    around = []
    for dim, step in enumerate(module.stride, start=2):
        reach = module.dilation[dim - 2] * (module.kernel_size[dim - 2] - 1)
        before = reach - int(module.padding[dim - 2])
        spread = _zeros_between(spread, dim, step)
        after = sides[dim - 2] + reach - before - spread.shape[dim]
        around = [before, after, *around]
    return F.pad(spread, around), (1,) * len(module.stride)


def _around(module: nn.modules.conv._ConvNd) -> list[int]:
    """The border in the order of `F.pad`; read off `padding`, which may have been set after the layer was made."""
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return list(module._reversed_padding_repeated_twice)
    return [int(amount) for amount in reversed(module.padding) for _ in range(2)]


def _zeros_between(inputs: Tensor, dim: int, step: int) -> Tensor:
    if step == 1:
        return inputs
    shape = list(inputs.shape)
    shape[dim] = (shape[dim] - 1) * step + 1
    result = inputs.new_zeros(shape)
    place = [slice(None)] * len(shape)
    place[dim] = slice(None, None, step)
    result[tuple(place)] = inputs
    return result
