"""Propagation against dense matrices, multiplied by hand along each network's own wiring."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Downstream, Random, Taylor, WeightNorm
from tests.networks.scored import EXAMPLE, NETS, batches, build

Normalize = Callable[[Tensor], Tensor]
Scores = dict[str, Tensor]


class Dense:
    """A network's layers as dense matrices |W| ** norm, [filters, in_channels], summed over the kernel."""

    def __init__(self, model: nn.Module, norm: int) -> None:
        self.model = model
        self.norm = norm

    def back(self, layer: str, scores: Tensor) -> Tensor:
        """[in_channels]."""
        return self.matrix(layer).T @ scores

    def matrix(self, layer: str) -> Tensor:
        module = self.model.get_submodule(layer)
        size = module.weight.detach().abs() ** self.norm
        if isinstance(module, nn.Linear):
            return size
        size = size.sum((2, 3))
        if isinstance(module, nn.ConvTranspose2d):
            return size.T
        return torch.block_diag(*size.chunk(module.groups)) if module.groups > 1 else size

    def scale(self, norm: str) -> Tensor:
        module = self.model.get_submodule(norm)
        return (module.weight.detach().abs() / (module.running_var + module.eps).sqrt()) ** self.norm


def chain(net: Dense, first: Scores, unit: Normalize) -> Scores:
    conv2 = unit(net.scale("norm2") * net.back("head", first["head"]))
    return {"conv2": conv2, "conv1": unit(net.scale("norm1") * net.back("conv2", conv2))}


def unet(net: Dense, first: Scores, unit: Normalize) -> Scores:
    join = unit(net.back("head", first["head"]))
    to_skip, to_rise = net.back("join", join).chunk(2)
    rise = unit(to_rise)
    down = unit(net.scale("down_norm") * net.back("rise", rise))
    return {"join": join, "rise": rise, "down": down, "enter": unit(to_skip + net.back("down", down))}


def residual(net: Dense, first: Scores, unit: Normalize) -> Scores:
    def tied(by_channel: Tensor) -> Tensor:
        """Both halves of a layer before or after the grouped convolution are tied place by place."""
        return by_channel.reshape(2, -1).mean(0).repeat(2)

    grouped = unit(tied(net.back("head", first["head"])))
    stage = tied(net.back("grouped", grouped))
    project = unit(stage)
    depthwise = unit(net.scale("depthwise_norm") * net.back("project", project))
    expand = unit(net.scale("expand_norm") * net.back("depthwise", depthwise))
    stem = unit(stage + tied(net.back("expand", expand)))
    return {"grouped": grouped, "project": project, "depthwise": depthwise, "expand": expand, "stem": stem}


def flattened(net: Dense, first: Scores, unit: Normalize) -> Scores:
    hidden = unit(net.back("head", first["head"]))
    return {"hidden": hidden, "conv": unit(net.back("hidden", hidden).reshape(-1, 4).sum(1))}


WIRING = {"chain": chain, "unet": unet, "residual": residual, "flattened": flattened}
UNITS: dict[str, Normalize] = {
    "none": lambda scores: scores,
    "sum": lambda scores: scores / scores.sum(),
    "mean": lambda scores: scores / scores.mean(),
    "max": lambda scores: scores / scores.max(),
}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("normalize", UNITS)
def test_equals_dense_propagation(net: str, norm: int, normalize: str) -> None:
    model, unit = build(net), UNITS[normalize]
    graph = ChannelGraph.trace(model, EXAMPLE)
    own = WeightNorm().by_filter(model, graph, [])
    first = {layer: unit(score) for layer, score in own.items()}
    expected = {"head": first["head"], **WIRING[net](Dense(model, norm), first, unit)}
    found = Downstream(norm=norm, normalize=normalize).propagate(model, graph, own)
    assert found.keys() == expected.keys()
    for layer, scores in expected.items():
        torch.testing.assert_close(found[layer], scores, rtol=1e-4, atol=1e-6)


def test_numbers_worked_out_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, eps=0.0), nn.ReLU(), nn.Conv2d(2, 2, 1))
    graph = ChannelGraph.trace(model, EXAMPLE[:, :1])
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([2.0, -1.0]))
        model[1].running_var.copy_(torch.tensor([4.0, 0.25]))
        model[3].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 0.5]]).reshape(2, 2, 1, 1))
    own = {"0": torch.tensor([7.0, 7.0]), "3": torch.tensor([1.0, 2.0])}
    found = Downstream(normalize="none").propagate(model, graph, own)
    # Filter 0: 2 / sqrt(4) x (1 x |1| + 2 x |3|); filter 1: 1 / sqrt(0.25) x (1 x |-2| + 2 x |0.5|).
    assert found["0"].tolist() == [7.0, 6.0]
    squared = Downstream(normalize="none", norm=2).propagate(model, graph, own)
    assert squared["0"].tolist() == [1 * (1 + 2 * 9), 4 * (4 + 2 * 0.25)]


def test_several_readers_add_up_or_the_strongest_counts() -> None:
    model, unit = build("unet"), UNITS["none"]
    graph = ChannelGraph.trace(model, EXAMPLE)
    own = WeightNorm().by_filter(model, graph, [])
    net, ahead = Dense(model, 1), unet(Dense(model, 1), own, unit)
    by_reader = [net.back("join", ahead["join"])[:4], net.back("down", ahead["down"])]
    for combine, expected in (("sum", sum(by_reader)), ("max", torch.maximum(*by_reader))):
        found = Downstream(normalize="none", combine=combine).propagate(model, graph, own)["enter"]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_one_hop_sees_the_own_scores_of_the_next_layers_and_many_hops_see_all() -> None:
    model, unit = build("unet"), UNITS["mean"]
    graph = ChannelGraph.trace(model, EXAMPLE)
    own = WeightNorm().by_filter(model, graph, [])
    net = Dense(model, 1)
    one = Downstream(hops=1).propagate(model, graph, own)
    near = net.back("join", unit(own["join"]))[:4] + net.back("down", unit(own["down"]))
    torch.testing.assert_close(one["enter"], unit(near), rtol=1e-4, atol=1e-6)
    far, whole = (Downstream(hops=hops).propagate(model, graph, own) for hops in (9, None))
    for layer in graph.layers:
        torch.testing.assert_close(far[layer], whole[layer])
    assert not torch.allclose(one["enter"], whole["enter"])


class ActiveDense(Dense):
    """The same, weighed by the standard deviation of what each layer reads, and without the norms' scales."""

    def __init__(self, model: nn.Module, norm: int) -> None:
        super().__init__(model, norm)
        self.deviation: Scores = {}
        modules = {name: module for name, module in model.named_modules() if hasattr(module, "weight")}
        handles = [module.register_forward_pre_hook(self._seen(name)) for name, module in modules.items()]
        with torch.no_grad():
            model.eval()(torch.cat([image for image, _ in batches()]))
        for handle in handles:
            handle.remove()

    def _seen(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.deviation[name] = inputs[0].movedim(1, 0).flatten(1).std(1, correction=0)

        return hook

    def back(self, layer: str, scores: Tensor) -> Tensor:
        return super().back(layer, scores) * self.deviation[layer] ** self.norm

    def scale(self, norm: str) -> Tensor:
        return torch.ones_like(super().scale(norm))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("norm", [1, 2])
def test_active_propagation_weighs_by_the_deviation_of_what_is_read(net: str, norm: int) -> None:
    model, unit = build(net), UNITS["mean"]
    graph = ChannelGraph.trace(model, EXAMPLE)
    first = {"head": torch.ones(len(graph.layers["head"]))}
    expected = WIRING[net](ActiveDense(model, norm), first, unit)
    own = {layer: torch.zeros(width) for layer, width in graph.widths.items()}
    found = Downstream(norm=norm, last_layers="ones", active=True).propagate(model, graph, own, batches())
    for layer, scores in expected.items():
        torch.testing.assert_close(found[layer], scores, rtol=1e-4, atol=1e-6)


def test_active_propagation_from_ones_does_not_ask_the_own_method() -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError

    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    scores = Downstream(own=never, mix=0.0, last_layers="ones", active=True)(model, graph, batches())
    assert bool((scores > 0).all())


def test_propagation_can_start_from_ones() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    own = WeightNorm().by_filter(model, graph, [])
    net = Dense(model, 1)
    found = Downstream(normalize="none", last_layers="ones").propagate(model, graph, own)
    torch.testing.assert_close(found["conv2"], net.scale("norm2") * net.matrix("head").sum(0))


def test_where_the_own_method_sees_nothing_of_the_output_propagation_starts_from_ones() -> None:
    model = build("unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    own = WeightNorm().by_filter(model, graph, [])
    blind = {layer: score * bool(graph.prunable[graph.layers[layer]].any()) for layer, score in own.items()}
    found = Downstream().propagate(model, graph, blind)
    expected = Downstream(last_layers="ones").propagate(model, graph, own)
    inner = [layer for layer, ids in graph.layers.items() if bool(graph.prunable[ids].any())]
    assert len(inner) > 2
    for layer in inner:
        assert bool(found[layer].any())
        torch.testing.assert_close(found[layer], expected[layer])


def test_looks_ahead_with_a_method_that_looks_at_readers() -> None:
    model = build("unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    alone, ahead = (method(model, graph, batches())[graph.prunable] for method in (Taylor(), Downstream(own=Taylor())))
    assert float(torch.corrcoef(torch.stack([alone, ahead]))[0, 1]) < 0.99


def test_mix_weighs_own_and_downstream_at_equal_mean() -> None:
    model = build("unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    own = WeightNorm().by_filter(model, graph, [])
    ahead = Downstream().propagate(model, graph, own)
    own_mean, ahead_mean = torch.cat(list(own.values())).mean(), torch.cat(list(ahead.values())).mean()
    for mix in (0.0, 0.3, 1.0):
        found = Downstream(WeightNorm(), mix).by_filter(model, graph, [])
        for layer in graph.layers:
            expected = mix * own[layer] / own_mean + (1 - mix) * ahead[layer] / ahead_mean
            torch.testing.assert_close(found[layer], expected)


def test_any_method_can_score_the_filter_itself() -> None:
    model = build("residual")
    graph = ChannelGraph.trace(model, EXAMPLE)
    scores = Random(seed=5)(model, graph, [])
    found = Downstream(Random(seed=5), mix=1.0)(model, graph, [])
    torch.testing.assert_close(found.argsort(), scores.argsort())


def test_a_filter_that_nobody_reads_has_nothing_downstream() -> None:
    model = build("unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    with torch.no_grad():
        model.join.weight[:, 1] = 0
        model.down.weight[:, 1] = 0
    scores = Downstream(mix=0.0)(model, graph, batches())
    assert scores[graph.layers["enter"]][1] == 0
    assert bool((scores[graph.layers["enter"]][[0, 2, 3]] > 0).all())


def test_a_graph_without_flows_propagates_along_shared_groups() -> None:
    model = build("flattened")
    graph = ChannelGraph.trace(model, EXAMPLE)
    own = WeightNorm().by_filter(model, graph, [])
    expected = Downstream().propagate(model, graph, own)
    graph.flows = ()
    found = Downstream().propagate(model, graph, own)
    for layer in graph.layers:
        torch.testing.assert_close(found[layer], expected[layer])


def test_shared_weights_that_run_twice_are_scored_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Conv2d(3, 4, 1)
            self.again = nn.Conv2d(4, 4, 3, padding=1)
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.head(self.again(torch.relu(self.again(torch.relu(self.enter(image))))))

    model = Twice()
    graph = ChannelGraph.trace(model, EXAMPLE)
    scores = Downstream()(model, graph, batches())
    assert bool(torch.isfinite(scores).all())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mix": 1.5}, "mix=1.5"),
        ({"norm": 3}, "norm=3 is not known; use one of 1, 2"),
        ({"normalize": "median"}, "normalize=median"),
        ({"combine": "mean"}, "combine=mean"),
        ({"hops": 0}, "hops=0"),
        ({"last_layers": "zeros"}, "last_layers=zeros"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(LabError, match=message):
        Downstream(**wrong)
