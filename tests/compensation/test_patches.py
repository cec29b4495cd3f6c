"""A reader's output is its patches times its weights, for every kind of reader."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.compensation.patches import (
    channels_of,
    patches_at,
    rows_as_weight,
    rows_at,
    sampled_places,
    weight_rows,
    weights_per_filter,
)


def widened(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that is told after it was made to dilate instead of to stride, as networks for segmentation do."""
    layer.stride, layer.dilation, layer.padding = (1, 1), (2, 2), (2, 2)
    return layer


IMAGE = (2, 4, 7, 6)
READERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "plain": (nn.Conv2d(4, 5, 3), IMAGE),
    "stride and padding": (nn.Conv2d(4, 5, (3, 2), stride=(2, 1), padding=(1, 0)), IMAGE),
    "dilated": (nn.Conv2d(4, 5, 3, padding=2, dilation=2), IMAGE),
    "set anew": (widened(nn.Conv2d(4, 5, 3, stride=2, padding=1)), IMAGE),
    "same": (nn.Conv2d(4, 5, (5, 3), padding="same"), IMAGE),
    "reflected border": (nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect"), IMAGE),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), IMAGE),
    "depthwise, two each": (nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False), IMAGE),
    "1d": (nn.Conv1d(4, 5, 3, stride=2), (2, 4, 9)),
    "3d": (nn.Conv3d(4, 5, 2, padding=1), (2, 4, 3, 4, 5)),
    "transposed": (nn.ConvTranspose2d(4, 5, 2, stride=2), IMAGE),
    "transposed, every option": (
        nn.ConvTranspose2d(
            4, 6, (3, 4), stride=(2, 3), padding=(1, 2), output_padding=(1, 0), groups=2, dilation=(1, 2)
        ),
        IMAGE,
    ),
    "transposed, padding beyond the kernel": (nn.ConvTranspose2d(4, 5, 2, stride=2, padding=2), IMAGE),
    "transposed 1d": (nn.ConvTranspose1d(4, 5, 3, stride=2), (2, 4, 5)),
    "transposed 3d": (nn.ConvTranspose3d(4, 5, 2, stride=2), (2, 4, 2, 3, 2)),
    "linear": (nn.Linear(4, 5), (3, 4)),
    "linear over places": (nn.Linear(4, 5), (2, 6, 3, 4)),
}


@pytest.mark.parametrize("kind", READERS)
def test_patches_times_weights_are_the_output(kind: str) -> None:
    module, shape = READERS[kind]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    output = module(inputs)
    flat = channels_of(module, output)
    places = sampled_places(flat, 5)
    seen = patches_at(module, inputs, output.shape[2:], places)
    assert seen.shape[2] == weights_per_filter(module)
    found = torch.einsum("mgn,gon->mgo", seen, weight_rows(module)).flatten(1)
    if module.bias is not None:
        found = found + module.bias
    torch.testing.assert_close(found, rows_at(flat, places), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", READERS)
def test_rows_go_back_into_the_weight(kind: str) -> None:
    module, _ = READERS[kind]
    weight = module.weight
    assert isinstance(weight, Tensor)
    assert torch.equal(rows_as_weight(module, weight_rows(module)), weight)


def test_places_are_drawn_for_each_image_and_never_twice() -> None:
    output = torch.zeros(3, 1, 40)
    places = sampled_places(output, 10)
    assert places.shape == (3, 10)
    assert all(len(row.unique()) == 10 for row in places)
    assert not torch.equal(places[0], places[1])
    assert not torch.equal(places, sampled_places(output, 10, seed=1))
    assert torch.equal(places[1:], sampled_places(output[1:], 10, first=1))
    assert torch.equal(sampled_places(output, 99), torch.arange(40).expand(3, 40))
