"""Whatever a network is built from: a cut equals the mask, and the network that is left can be trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_lab.common.copies import copy_of
from pruning_lab.common.modules import tensors_in
from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.cutting.mask import mask
from pruning_lab.graph.structure.id_rows import Rows
from tests.graph.helpers import all_understood, cut_against_masked, difference, draw
from tests.networks.constructs import CASES, make
from tests.networks.parts import Apply, conv

FROZEN = {
    "split by a size": {"first", "middle"},
    "slice at a number": {"first"},
    "channel padding": {"second"},
    "channel padding up to a number": {"first", "second"},
    "grouped, other groups before and after": {"3"},
    "spatial attention": {"attend"},
    "gated attention": {"psi"},
    "einsum": {"other"},
    "attention with the default scale": {"query", "key"},
    "MultiheadAttention": {"first", "attend.in_proj_weight"},
    "head that only training runs": {"auxiliary", "auxiliary_last"},
    "dict and tuple outputs": {"other", "third"},
}
"""Layers of the cases that can't be cut, or not whole, beside the last one, which gives the output."""


@pytest.mark.parametrize("name", CASES)
def test_a_cut_equals_the_mask(name: str) -> None:
    model, inputs = make(name)
    graph = ChannelGraph.trace(model, inputs)
    for seed in range(4):
        groups = draw(graph, seed, exact_only=True)
        assert cut_against_masked(model, graph, groups, inputs) < 1e-4
    assert verify(model, graph, draw(graph, 0), inputs) < 1e-4


@pytest.mark.parametrize("name", CASES)
def test_everything_that_can_be_cut_is_prunable(name: str) -> None:
    model, inputs = make(name)
    graph = ChannelGraph.trace(model, inputs)
    assert all_understood(graph)
    last = list(graph.layers)[-1] if "last" not in graph.layers else "last"
    assert set(graph.frozen) - {last} == FROZEN.get(name, set())
    assert bool(graph.mixed) == CASES[name].mixes


@pytest.mark.parametrize("name", CASES)
def test_a_cut_network_trains_on(name: str) -> None:
    model, inputs = make(name)
    graph = ChannelGraph.trace(model, inputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    train_step(model, inputs, optimizer)
    old_loss = loss_of(model.train()(*inputs))
    cut(model, graph, draw(graph, 0), optimizer)
    train_step(model, inputs, optimizer)
    assert old_loss.grad_fn is not None
    for name_of, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.shape == parameter.shape, name_of
        assert tuple(parameter.shape) == graph.tensors[name_of].shape if name_of in graph.tensors else True


def train_step(model: nn.Module, inputs: tuple[Tensor, ...], optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss = loss_of(model.train()(*inputs))
    loss.backward()
    optimizer.step()


def loss_of(output: object) -> Tensor:
    return torch.stack([tensor.square().mean() for tensor in tensors_in(output)]).sum()


def test_group_norm_is_exact_against_the_norm_over_the_channels_left() -> None:
    """The reference is written out by hand: each group of channels normalized over its own that are left."""
    torch.manual_seed(0)
    model = nn.Sequential(conv(3, 8), nn.GroupNorm(2, 8), conv(8, 2)).eval()
    nn.init.normal_(model[1].weight)
    image = torch.randn(2, 3, 8, 8)
    graph = ChannelGraph.trace(model, image)
    groups = [int(graph.layers["0"][1]), int(graph.layers["0"][2])]
    left = torch.tensor([0, 3, 4, 7])
    with torch.no_grad():
        features = functional.conv2d(image, model[0].weight, model[0].bias, padding=1)[:, left]
        parts = features.view(2, 2, -1)
        parts = (parts - parts.mean(2, keepdim=True)) / (parts.var(2, keepdim=True, unbiased=False) + 1e-5).sqrt()
        normal = parts.view_as(features) * model[1].weight[left].view(-1, 1, 1) + model[1].bias[left].view(-1, 1, 1)
        expected = functional.conv2d(normal, model[2].weight[:, left], model[2].bias, padding=1)
        assert verify(model, graph, groups, image) < 1e-5
        cut(model, graph, groups)
        assert difference(model(image), expected) < 1e-5


def test_layer_norm_is_exact_against_the_norm_over_the_channels_left() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.Linear(6, 2)).eval()
    tokens = torch.randn(2, 5, 3)
    graph = ChannelGraph.trace(model, tokens)
    left = torch.tensor([1, 2, 4, 5])
    with torch.no_grad():
        hidden = (tokens @ model[0].weight.T + model[0].bias)[..., left]
        deviation = hidden.var(-1, keepdim=True, unbiased=False).add(1e-5).sqrt()
        normal = (hidden - hidden.mean(-1, keepdim=True)) / deviation
        expected = normal @ model[2].weight[:, left].T + model[2].bias
        assert verify(model, graph, [0, 3], tokens) < 1e-5
        cut(model, graph, [0, 3])
        assert difference(model(tokens), expected) < 1e-5


def test_verify_sees_a_wrong_graph() -> None:
    """A graph whose ties are spoilt must not pass: the filters of one layer are listed in another order."""
    model, inputs = make("plain")
    graph = ChannelGraph.trace(model, inputs)
    tensors = graph.structure.tensors
    info = tensors["3.weight"]
    spoilt = {**tensors, "3.weight": replace(info, axes={**info.axes, 1: info.axes[1].roll(1)})}
    structure = replace(graph.structure, tensors=spoilt)
    graph = replace(graph, structure=structure, rows=Rows(structure.rows()))
    assert verify(model, graph, [0, 3], inputs) > 1e-2


def test_a_depthwise_filter_is_read_by_the_layer_after_it() -> None:
    model, inputs = make("depthwise multiplier 2")
    graph = ChannelGraph.trace(model, inputs)
    assert graph.group(1).filters == [("0", 1), ("1", 2), ("1", 3)]
    assert graph.group(1).consumers == [("3", 2), ("3", 3)]


def test_residual_filters_are_tied() -> None:
    model, inputs = make("residual")
    graph = ChannelGraph.trace(model, inputs)
    assert graph.group(2).filters == [("first", 2), ("second", 2)]
    assert graph.group(2).consumers == [("second", 2), ("last", 2)]


def test_a_concatenation_may_place_channels_anywhere() -> None:
    model = Apply(
        lambda m, x: m.last(torch.cat([m.two(x), x, m.one(x)], 1)), one=conv(3, 4), two=conv(3, 5), last=conv(12, 2)
    )
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 4, 4))
    two, one = graph.layers["two"].tolist(), graph.layers["one"].tolist()
    assert [graph.group(i).consumers for i in two] == [[("last", i)] for i in range(5)]
    assert [graph.group(i).consumers for i in one] == [[("last", i)] for i in range(8, 12)]


def test_masked_copy_keeps_its_shapes() -> None:
    model, inputs = make("residual")
    graph = ChannelGraph.trace(model, inputs)
    masked = copy_of(model)
    mask(masked, graph, draw(graph, 0))
    assert [p.shape for p in masked.parameters()] == [p.shape for p in model.parameters()]
    assert difference(masked(*inputs), model(*inputs)) > 1e-3


@pytest.mark.parametrize("normalize", [torch.nn.utils.spectral_norm, torch.nn.utils.parametrizations.spectral_norm])
@pytest.mark.parametrize("training", [True, False])
def test_a_spectral_norm_mixes_what_its_layer_reads_and_gives_out_and_nothing_else(
    normalize: Callable[[nn.Module], nn.Module], training: bool
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(conv(3, 5), nn.ReLU(), normalize(conv(5, 4)), nn.ReLU(), conv(4, 6), nn.ReLU(), conv(6, 2))
    image = torch.randn(2, 3, 8, 8)
    model(image)  # the first estimate of the norm
    graph = ChannelGraph.trace(model.train(training), image)
    mixing = {layer: set(graph.mixing[row].tolist()) for layer, row in graph.layers.items()}
    assert mixing == {"0": {True}, "2": {True}, "4": {False}, "6": {False}}
    assert set(graph.mixed) == {"0", "2"}
    own, others = graph.layers["2"][:1], graph.layers["4"][:2]
    model.eval()
    assert cut_against_masked(model, graph, own, (image,)) > 1e-4  # zeroed weights count in the norm, cut ones do not
    assert verify(model, graph, own, (image,)) < 1e-4
    assert cut_against_masked(model, graph, others, (image,)) < 1e-5
