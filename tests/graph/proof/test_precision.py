"""Comparisons hold where float32 rounds: on a CPU whose convolutions round their operands to ten bits, as TF32 does."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.checkpoint import Builder
from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.importance import Ablation
from pruning_lab.lab import loop as lab
from pruning_lab.models import UNet
from tests.networks.labs import tiny_lab
from tests.networks.two_paths import random_groups


def rounded(tensor: Tensor) -> Tensor:
    """A float32 tensor with ten bits of mantissa; any other as it is."""
    if tensor.dtype != torch.float32:
        return tensor
    bits = tensor.contiguous().view(torch.int32) + 0x1000
    return (bits & ~0x1FFF).view(torch.float32)


def convolve(
    image: Tensor, weight: Tensor, bias: Tensor | None, stride: list, padding: list, dilation: list, groups: int
) -> Tensor:
    """A plain convolution of rounded operands by im2col."""
    kernel = list(weight.shape[2:])
    sizes = zip(image.shape[2:], kernel, stride, padding, dilation, strict=True)
    sides = [(side + 2 * pad - gap * (k - 1) - 1) // step + 1 for side, k, step, pad, gap in sizes]
    parts = zip(rounded(image).chunk(groups, 1), rounded(weight).chunk(groups, 0), strict=True)
    results = [
        torch.matmul(w.flatten(1), torch.ops.aten.im2col(x, kernel, list(dilation), list(padding), list(stride)))
        for x, w in parts
    ]
    result = torch.cat(results, 1).reshape(len(image), len(weight), *sides)
    return result if bias is None else result + bias.reshape(1, -1, 1, 1)


@pytest.fixture
def ten_bits() -> Iterator[None]:
    """Inside, float32 convolutions on the CPU round their operands to ten bits of mantissa."""
    with torch.library._scoped_library("aten", "IMPL") as library, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that a kernel is overridden, which is meant
        library.impl("mkldnn_convolution", lambda x, w, b, p, s, d, g: convolve(x, w, b, s, p, d, g), "CPU")
        library.impl("_slow_conv2d_forward", lambda x, w, k, b, s, p: convolve(x, w, b, s, p, [1, 1], 1), "CPU")
        yield


def network() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return UNet(in_channels=3, classes=2, width=16, depth=3).eval(), torch.randn(2, 3, 32, 32)


@pytest.mark.usefixtures("ten_bits")
def test_this_cpu_rounds() -> None:
    layer, image = nn.Conv2d(8, 8, 3), torch.randn(1, 8, 9, 9)
    exact = nn.Conv2d(8, 8, 3).double()
    exact.load_state_dict(layer.state_dict())
    assert 1e-5 < float((layer(image) - exact(image.double())).abs().max().detach()) < 1e-2


@pytest.mark.usefixtures("ten_bits")
def test_the_proof_of_a_cut_is_not_disturbed_by_rounding() -> None:
    model, image = network()
    graph = ChannelGraph.trace(model, image[:1])
    assert verify(model, graph, random_groups(graph, 0.3), image) < 1e-12


@pytest.mark.slow
@pytest.mark.usefixtures("ten_bits")
def test_a_run_proves_its_first_cut(tmp_path: Path) -> None:
    arguments = {"in_channels": 3, "classes": 2, "width": 32, "depth": 3}
    builder = Builder("pruning_lab.models.UNet", arguments)
    summary = lab.prune(tiny_lab(tmp_path, build=builder.build, builder=builder, base_recipe={"model": arguments}))
    assert summary["budget_met"] == 1


class Suspected(nn.Module):
    """A deep network whose layer norm makes channels suspects, so that cuts are tried; its depth adds up rounding."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Conv2d(3, 64, 3, padding=1)
        self.layers = nn.ModuleList([first, *(nn.Conv2d(64, 64, 3, padding=1) for _ in range(8))])
        self.norms = nn.ModuleList(nn.LayerNorm(64) for _ in self.layers)
        self.last = nn.Conv2d(64, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            image = norm(layer(image).movedim(1, -1)).movedim(-1, 1).relu()
        return self.last(image)


def suspected() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Suspected().eval(), torch.randn(1, 3, 16, 16)


@pytest.mark.usefixtures("ten_bits")
def test_trial_cuts_freeze_nothing_that_only_rounds() -> None:
    graph = ChannelGraph.trace(*suspected())
    assert set(graph.frozen) == {"last"}


@pytest.mark.usefixtures("ten_bits")
def test_ablation_replays() -> None:
    model, image = network()
    graph = ChannelGraph.trace(model, image[:1])
    ablation = Ablation(images=1)
    scores = ablation(model, graph, [(image, torch.zeros(2, 32, 32, dtype=torch.int64))])
    assert ablation.last_report.brute_force is None
    assert math.isfinite(float(scores.sum()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_is_cut_as_in_single(dtype: torch.dtype) -> None:
    model, image = suspected()
    whole = ChannelGraph.trace(model, image)
    half = ChannelGraph.trace(model.to(dtype), image.to(dtype))
    assert half.frozen == whole.frozen
    assert torch.equal(half.prunable, whole.prunable)
