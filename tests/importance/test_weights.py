"""Methods that look at weights alone, against the formulas written out filter by filter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import BnScale, FilterImportance, Fpgm, GroupMagnitude, Lamp, WeightNorm
from tests.importance.test_ipad import kernel_of
from tests.networks.scored import EXAMPLE, NETS, build


def naive_norm(kernels: list[Tensor], p: int, per_weight: bool) -> list[float]:
    norms = [float(kernel.abs().pow(p).sum() ** (1 / p)) for kernel in kernels]
    return [
        norm / kernel.numel() ** (1 / p) if per_weight else norm for norm, kernel in zip(norms, kernels, strict=True)
    ]


def naive_lamp(kernels: list[Tensor]) -> list[float]:
    squared = [float(kernel.pow(2).sum()) for kernel in kernels]
    return [own / sum(other for other in squared if other >= own) for own in squared]


def naive_fpgm(kernels: list[Tensor], p: int) -> list[float]:
    return [sum(float(torch.dist(one, other, p)) for other in kernels) for one in kernels]


FORMULAS = {
    "l1": (WeightNorm(), lambda kernels: naive_norm(kernels, 1, True)),
    "l2": (WeightNorm(p=2), lambda kernels: naive_norm(kernels, 2, True)),
    "l1-plain": (WeightNorm(per_weight=False), lambda kernels: naive_norm(kernels, 1, False)),
    "lamp": (Lamp(), naive_lamp),
    "fpgm": (Fpgm(), lambda kernels: naive_fpgm(kernels, 2)),
    "fpgm-p1": (Fpgm(p=1), lambda kernels: naive_fpgm(kernels, 1)),
}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", FORMULAS)
def test_equals_the_formula(name: str, net: str) -> None:
    method, formula = FORMULAS[name]
    model = build(net)
    graph = ChannelGraph.trace(model, EXAMPLE)
    members: list[list[float]] = [[] for _ in range(len(graph))]
    for layer, ids in graph.layers.items():
        kernels = [kernel_of(model.get_submodule(layer), index).detach().double() for index in range(len(ids))]
        for group, score in zip(ids.tolist(), formula(kernels), strict=True):
            members[group].append(score)
    expected = torch.tensor([sum(member) / len(member) for member in members])
    torch.testing.assert_close(method(model, graph, []), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "factor"), [(WeightNorm(), 3.0), (WeightNorm(p=2), 3.0), (Fpgm(), 3.0), (Lamp(), 1.0)], ids=repr
)
def test_scaling_all_weights_scales_the_scores_as_the_formula_says(method: FilterImportance, factor: float) -> None:
    model = build("unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    before = method(model, graph, [])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    torch.testing.assert_close(method(model, graph, []), before * factor, rtol=1e-4, atol=1e-6)


def test_lamp_gives_the_largest_of_every_layer_one_and_equal_filters_the_same() -> None:
    model = build("chain")
    with torch.no_grad():
        model.conv1.weight[0] = model.conv1.weight[1]
    graph = ChannelGraph.trace(model, EXAMPLE)
    scores = Lamp()(model, graph, [])
    assert all(scores[ids].max() == 1 for ids in graph.layers.values())
    assert scores[0] == scores[1]


def test_fpgm_thinks_least_of_the_filter_in_the_middle() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([5.0, 0.1, 3.0]).reshape(3, 1, 1, 1))
    scores = Fpgm()(model, ChannelGraph.trace(model, EXAMPLE[:, :1]), [])
    assert scores[:3].argmin() == 2


def test_bn_scale_is_the_mean_of_a_groups_scales() -> None:
    model = build("residual")
    graph = ChannelGraph.trace(model, EXAMPLE)
    scores = BnScale()(model, graph, [])
    both = (model.expand_norm.weight.abs() + model.depthwise_norm.weight.abs()) / 2
    torch.testing.assert_close(scores[graph.layers["depthwise"]], both.detach())
    assert torch.equal(scores[graph.layers["stem"]], scores.max().expand(4))


@pytest.mark.parametrize("p", [1, 2])
def test_group_magnitude_is_the_mean_over_all_tensors_that_lose_something(p: int) -> None:
    """Added up channel by channel; the residual net ties filters of several layers."""
    model = build("residual")
    graph = ChannelGraph.trace(model, EXAMPLE)
    scores = GroupMagnitude(p)(model, graph, [])
    for group in range(len(graph)):
        parts = []
        for name, parameter in model.named_parameters():
            axes = {} if name.endswith("bias") else graph.tensors[name].axes
            for dim, ids in axes.items():
                lost = [parameter.select(dim, place) for place, of in enumerate(ids.tolist()) if of == group]
                if lost:
                    parts.append(sum(float((one.detach().double().abs() ** p).sum()) for one in lost))
        assert scores[group].item() == pytest.approx(sum(parts) / len(parts), rel=1e-5)


def test_bn_scale_says_that_there_is_nothing_to_look_at() -> None:
    model = build("flattened")
    with pytest.raises(LabError, match="has none; use l1"):
        BnScale()(model, ChannelGraph.trace(model, EXAMPLE), [])


def test_a_norm_other_than_one_or_two_is_named() -> None:
    for method in (WeightNorm, Fpgm, GroupMagnitude):
        with pytest.raises(LabError, match="p=3"):
            method(p=3)
