"""One table of properties over every importance method: a new one is tested the day it is born."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from pruning_lab import importance
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.importance import Importance, check_scores
from pruning_lab.importance.controls.at_widths import RandomAtWidths
from tests.networks.scored import EXAMPLE, NETS, batches, build, regrouped


@dataclass(frozen=True)
class Case:
    """What can be asked of a method.

    Attributes:
        make: builds it afresh.
        follows_filters: a permutation of filters permutes its scores.
        sees_useless: a filter of zeros, normalized to zeros, is the least of its layer.
        nets: the networks it can score.
    """

    make: Callable[[], Importance]
    follows_filters: bool = True
    sees_useless: bool = True
    nets: tuple[str, ...] = tuple(NETS)


WITH_NORMS = ("chain", "unet", "residual")
WITHOUT_GROUPED = ("chain", "unet", "flattened")  # Torch-Pruning loses its way where a cut leaves one channel a group

CASES: dict[str, Case] = {
    "ipad": Case(importance.Ipad),
    "ipad-p2": Case(lambda: importance.Ipad(p=2, normalize="global_sum", resize_kernels=True)),
    # Behind a ReLU a filter of zeros deviates from its layer's mean by all of it.
    "ipad-reads": Case(lambda: importance.Ipad(normalize="layer_mean", of="reads"), sees_useless=False),
    "l1": Case(importance.WeightNorm),
    "l2": Case(lambda: importance.WeightNorm(p=2)),
    "lamp": Case(importance.Lamp),
    "fpgm": Case(importance.Fpgm),
    "group_magnitude": Case(importance.GroupMagnitude),
    "bn_scale": Case(importance.BnScale, nets=WITH_NORMS),
    "mean_activation": Case(importance.MeanActivation),
    "apoz": Case(importance.Apoz),
    "hrank": Case(importance.HRank),
    "chip": Case(lambda: importance.Chip(images=None)),
    "reconstruction": Case(importance.Reconstruction),
    "reconstruction-whole": Case(lambda: importance.Reconstruction("none", greedy=0.3, places=1000)),
    "reconstruction-gradient": Case(lambda: importance.Reconstruction("none", greedy=0.2, weigh="gradient")),
    "reconstruction-downstream": Case(lambda: importance.Reconstruction(greedy=0.2, weigh="downstream")),
    "taylor": Case(importance.Taylor),
    "hessian": Case(importance.Hessian),
    "jacobian": Case(importance.Jacobian),
    "downstream": Case(lambda: importance.Downstream(importance.WeightNorm()), sees_useless=False),
    "downstream-ipad": Case(lambda: importance.Downstream(norm=2, hops=2, combine="max"), sees_useless=False),
    "downstream-active": Case(
        lambda: importance.Downstream(mix=0.0, last_layers="ones", active=True), sees_useless=False
    ),
    "ablation": Case(lambda: importance.Ablation("logits")),
    "random": Case(importance.Random, follows_filters=False, sees_useless=False),
    "uniform": Case(lambda: importance.Uniform(importance.WeightNorm())),
    "random_at_widths": Case(
        lambda: RandomAtWidths({"conv1": 4, "conv2": 5, "head": 3}), False, sees_useless=False, nets=("chain",)
    ),
    "largest_layer_random": Case(importance.LargestLayerRandom, follows_filters=False, sees_useless=False),
    "weighted_sum": Case(lambda: importance.WeightedSum([importance.WeightNorm(), importance.MeanActivation()])),
    "product": Case(lambda: importance.Product([importance.WeightNorm(), importance.MeanActivation()])),
    "rank_average": Case(lambda: importance.RankAverage([importance.WeightNorm(), importance.Lamp()])),
    "normalized": Case(lambda: importance.Normalized(importance.WeightNorm(), "layer", "gaussian")),
    "isomorphic": Case(lambda: importance.Normalized(importance.WeightNorm(), "kind", "rank")),
    "reduced": Case(lambda: importance.Reduced(importance.WeightNorm(), "max")),
    "moving_average": Case(lambda: importance.MovingAverage(importance.WeightNorm()), follows_filters=False),
    "per_saving": Case(lambda: importance.PerSaving(importance.WeightNorm())),
    "torch_pruning": Case(importance.TorchPruning, nets=WITHOUT_GROUPED),
    "torch_pruning-taylor": Case(lambda: importance.TorchPruning("taylor"), nets=WITHOUT_GROUPED),
    "function": Case(lambda: importance.Function("tests.importance.test_family.first_weights", {"power": 2})),
}

GRAPHS: dict[str, ChannelGraph] = {}


def first_weights(model: nn.Module, graph: ChannelGraph, batches: object, power: float) -> Tensor:
    """A user's own method: the sum of a filter's |weight| ** power, for the layer that gives the group out last."""
    scores = torch.zeros(len(graph))
    for layer, ids in graph.layers.items():
        module = model.get_submodule(layer)
        weight = module.weight.detach().abs() ** power
        sides = [d for d in range(weight.dim()) if d != int(isinstance(module, nn.ConvTranspose2d))]
        scores[ids] = weight.sum(sides).cpu()
    return scores


def traced(net: str) -> tuple[nn.Module, ChannelGraph]:
    """A fresh network, and its graph (traced once, copied every time, since a cut changes it)."""
    model = build(net)
    if net not in GRAPHS:
        GRAPHS[net] = ChannelGraph.trace(model, EXAMPLE)
    return model, copy.deepcopy(GRAPHS[net])


def table(**wanted: bool) -> pytest.MarkDecorator:
    """The methods for which an attribute is as wanted, each on every network it can score."""
    pairs = [
        pytest.param(name, net, id=f"{name}-{net}")
        for name, case in CASES.items()
        if all(getattr(case, key) == value for key, value in wanted.items())
        for net in case.nets
    ]
    return pytest.mark.parametrize(("method", "net"), pairs)


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@table()
def test_gives_one_finite_score_per_group(method: str, net: str) -> None:
    model, graph = traced(net)
    scores = CASES[method].make()(model, graph, batches())
    assert check_scores(scores, graph, method).dtype == torch.float32
    assert scores.device.type == "cpu"
    assert not scores.requires_grad


@table()
def test_gives_the_same_scores_twice(method: str, net: str) -> None:
    model, graph = traced(net)
    one, other = CASES[method].make(), CASES[method].make()
    assert torch.equal(one(model, graph, batches()), other(model, graph, batches()))


@table()
def test_does_not_care_how_images_are_batched(method: str, net: str) -> None:
    model, graph = traced(net)
    scorer = CASES[method].make()
    in_twos = scorer(model, graph, batches())
    for size in (1, 4):
        close(scorer(model, graph, regrouped(batches(), size)), in_twos)


@table()
def test_leaves_the_model_as_it_was(method: str, net: str) -> None:
    model, graph = traced(net)
    next(model.children()).eval()
    first, *others = model.parameters()
    first.grad = torch.ones_like(first)
    others[0].requires_grad_(False)
    weights = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    CASES[method].make()(model, graph, batches())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in others)
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, False, *[True] * (len(others) - 1)]
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


@table(follows_filters=True)
def test_a_permutation_of_filters_permutes_the_scores(method: str, net: str) -> None:
    model, graph = traced(net)
    scorer = CASES[method].make()
    before = scorer(model, graph, batches())
    order = torch.arange(len(graph))
    for layer in list(graph.layers)[:-1]:
        ids = graph.layers[layer].unique()
        if torch.equal(order[ids], ids):
            order[ids] = ids.roll(1)
    permute_groups(model, graph, order)
    close(scorer(model, graph, batches()), before[order])


@table(sees_useless=True)
def test_a_filter_of_zeros_is_the_least_of_its_layer(method: str, net: str) -> None:
    model, graph = traced(net)
    layer = list(graph.layers)[1 if net != "flattened" else 0]
    useless = int(graph.layers[layer][1])
    silence(model, graph, useless)
    scores = CASES[method].make()(model, graph, batches())
    of_layer = scores[graph.layers[layer].unique()]
    assert scores[useless] == of_layer.min()
    assert scores[useless] < of_layer.mean()


@table()
def test_still_scores_after_a_cut(method: str, net: str) -> None:
    model, graph = traced(net)
    scorer = CASES[method].make()
    scorer(model, graph, batches())
    cut(model, graph, [int(graph.prunable.nonzero()[0])])
    check_scores(scorer(model, graph, batches()), graph, method)


def permute_groups(model: nn.Module, graph: ChannelGraph, order: Tensor) -> None:
    """Every channel of group i gets the content of group order[i]; what the network computes does not change."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, info in graph.tensors.items():
        for dim, row in info.axes.items():
            places = {group: (row == group).nonzero().flatten().tolist() for group in row.unique().tolist()}
            source = list(range(len(row)))
            for group, own in places.items():
                if group >= 0:
                    for place, origin in zip(own, places[int(order[group])], strict=True):
                        source[place] = origin
            with torch.no_grad():
                tensors[name].copy_(tensors[name].index_select(dim, torch.tensor(source)).clone())


def silence(model: nn.Module, graph: ChannelGraph, group: int) -> None:
    """Zero the filters, biases and normalizations of a group; whoever reads it keeps its weights."""
    with torch.no_grad():
        for layer, index in graph.group(group).filters:
            module = model.get_submodule(layer)
            module.weight.select(int(isinstance(module, nn.ConvTranspose2d)), index).zero_()
            if module.bias is not None:
                module.bias[index] = 0
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                own = graph.tensors[f"{name}.weight"].axes[0] == group
                module.weight[own], module.bias[own] = 0, 0
