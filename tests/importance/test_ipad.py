"""IPAD against a naive implementation, written from the formula for one layer at a time."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Downstream, Ipad
from pruning_lab.surgery import cut
from tests.networks.scored import EXAMPLE, NETS, batches, build


def kernel_of(module: nn.Module, filter_index: int) -> Tensor:
    """[in_channels / groups, *kernel] of one filter, picked by hand."""
    if not isinstance(module, nn.ConvTranspose2d):
        return module.weight.detach()[filter_index]
    per_group = module.weight.shape[0] // module.groups
    block, place = divmod(filter_index, module.weight.shape[1])
    return module.weight.detach()[block * per_group : (block + 1) * per_group, place]


def outputs_of(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Every layer's output for all images at once."""
    seen: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: seen.__setitem__(name, output.double()))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    ]
    training = model.training
    model.eval()
    with torch.no_grad():
        model(image)
    model.train(training)
    for handle in handles:
        handle.remove()
    return seen


def naive_terms(
    model: nn.Module, layer: str, outputs: dict[str, Tensor], p: int, resize: bool
) -> tuple[list[float], list[float]]:
    """(||W_k||_p / n_l, ADC_p) for every filter k of a layer."""
    module, output = model.get_submodule(layer), outputs[layer]
    maps = output.reshape(len(output), output.shape[1], -1)
    mean_maps = maps.mean(0)
    weights, deviations = [], []
    for index in range(maps.shape[1]):
        kernel = kernel_of(module, index)
        count = kernel.numel()
        if resize and kernel.dim() == 3:
            kernel = F.interpolate(kernel[None], size=(3, 3), mode="bilinear", align_corners=False)[0]
            count = len(kernel)
        weights.append(float(kernel.double().abs().pow(p).sum() ** (1 / p)) / count)
        apart = mean_maps[index] - mean_maps.mean(0)
        deviations.append(float(apart.abs().pow(p).sum() ** (1 / p)) / apart.numel())
    return weights, deviations


def naive(model: nn.Module, graph: ChannelGraph, image: Tensor, method: Ipad) -> Tensor:
    outputs = outputs_of(model, image)
    terms = {layer: naive_terms(model, layer, outputs, method.p, method.resize_kernels) for layer in graph.layers}
    alone = {
        layer
        for layer in graph.layers
        if method.pointwise_by_weights and getattr(model.get_submodule(layer), "kernel_size", None) == (1, 1)
    }
    weight_scale, deviation_scale = 1.0, method.equalizer
    if method.normalize:
        weight_scale = 1 / sum(sum(weights) for weights, _ in terms.values())
        deviation_scale = 1 / sum(sum(deviations) for layer, (_, deviations) in terms.items() if layer not in alone)
    members: list[list[float]] = [[] for _ in range(len(graph))]
    for layer, (weights, deviations) in terms.items():
        for group, weight, deviation in zip(graph.layers[layer].tolist(), weights, deviations, strict=True):
            both = method.omega * weight * weight_scale + (1 - method.omega) * deviation * deviation_scale
            members[group].append(weight * weight_scale if layer in alone else both)
    return torch.tensor([sum(member) / len(member) for member in members])


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    "method",
    [
        Ipad(),
        Ipad(p=2),
        Ipad(omega=0.0),
        Ipad(omega=1.0),
        Ipad(omega=0.3, equalizer=2.5),
        Ipad(normalize="global_sum", p=2),
        Ipad(resize_kernels=True),
        Ipad(pointwise_by_weights=True),
        Ipad(pointwise_by_weights=True, normalize="global_sum", resize_kernels=True, omega=0.7),
    ],
    ids=repr,
)
def test_equals_the_formula(method: Ipad, net: str) -> None:
    model = build(net)
    graph = ChannelGraph.trace(model, EXAMPLE)
    image = torch.cat([image for image, _ in batches()])
    expected = naive(model, graph, image, method)
    torch.testing.assert_close(method(model, graph, batches()), expected.float(), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("net", ["chain", "unet", "flattened"])  # where every group is one filter
def test_against_the_layer_both_terms_are_over_their_mean(net: str) -> None:
    model = build(net)
    graph = ChannelGraph.trace(model, EXAMPLE)
    weights, deviation = (Ipad(omega=o, equalizer=1.0)(model, graph, batches()) for o in (1.0, 0.0))
    found = Ipad(omega=0.3, normalize="layer_mean")(model, graph, batches())
    for ids in graph.layers.values():
        expected = 0.3 * weights[ids] / weights[ids].mean() + 0.7 * deviation[ids] / deviation[ids].mean()
        torch.testing.assert_close(found[ids], expected)


@pytest.mark.parametrize("p", [1, 2])
def test_the_deviation_of_what_readers_read_is_behind_norm_and_activation(p: int) -> None:
    model = build("unet").eval()
    graph = ChannelGraph.trace(model, EXAMPLE)
    found = Ipad(omega=0.0, p=p, equalizer=1.0, of="reads")(model, graph, batches())
    read: dict[str, Tensor] = {}
    for name in ("down", "rise", "join", "head"):
        hook = lambda _, inputs, name=name: read.__setitem__(name, inputs[0].mean(0))  # noqa: E731
        model.get_submodule(name).register_forward_pre_hook(hook)
    with torch.no_grad():
        model(torch.cat([image for image, _ in batches()]))
    terms = {}
    for name, mean in read.items():
        apart = (mean - mean.mean(0)).flatten(1)
        terms[name] = (apart.abs().sum(1) if p == 1 else apart.square().sum(1).sqrt()) / apart.shape[1]
    torch.testing.assert_close(found[graph.layers["enter"]], (terms["down"] + terms["join"][:4]) / 2)
    torch.testing.assert_close(found[graph.layers["down"]], terms["rise"])
    torch.testing.assert_close(found[graph.layers["rise"]], terms["join"][4:])
    torch.testing.assert_close(found[graph.layers["join"]], terms["head"])


@pytest.mark.parametrize("p", [1, 2])
def test_around_its_own_mean_a_filter_has_its_standard_deviation_over_images_and_places(p: int) -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    images = batches()
    outputs = outputs_of(model, torch.cat([image for image, _ in images]))
    found = Ipad(omega=0.0, p=p, equalizer=1.0, around="own")(model, graph, images)
    for layer, row in graph.layers.items():
        expected = outputs[layer].transpose(0, 1).flatten(1).std(1, correction=0).float()
        torch.testing.assert_close(found[row], expected)


def weights_on(module: nn.Module, channel: int, p: int) -> float:
    """||W(., i)||_p / (filters x kernel size) of all that a convolution multiplies a channel with."""
    weight = module.weight.detach()
    if isinstance(module, nn.ConvTranspose2d):
        weight = weight.transpose(0, 1)
    filters = len(weight) // module.groups
    block, place = divmod(channel, weight.shape[1])
    part = weight[block * filters : (block + 1) * filters, place].flatten()
    return float(part.norm(p)) / len(part)


@pytest.mark.parametrize("p", [1, 2])
def test_weights_of_readers_are_those_that_a_filter_is_multiplied_with(p: int) -> None:
    model = build("unet").eval()
    graph = ChannelGraph.trace(model, EXAMPLE)
    found = Ipad(omega=1.0, p=p, weights="readers")(model, graph, [])
    terms = {
        name: torch.tensor([weights_on(model.get_submodule(name), channel, p) for channel in range(width)])
        for name in ("down", "rise", "join", "head")
        for width in [model.get_submodule(name).in_channels]
    }
    torch.testing.assert_close(found[graph.layers["enter"]], (terms["down"] + terms["join"][:4]) / 2)
    torch.testing.assert_close(found[graph.layers["down"]], terms["rise"])
    torch.testing.assert_close(found[graph.layers["rise"]], terms["join"][4:])
    torch.testing.assert_close(found[graph.layers["join"]], terms["head"])
    over = {name: term / term.mean() for name, term in terms.items()}
    held = Ipad(omega=1.0, p=p, weights="readers", normalize="layer_mean")(model, graph, [])
    torch.testing.assert_close(held[graph.layers["enter"]], (over["down"] + over["join"][:4]) / 2)


def test_a_grouped_reader_multiplies_a_channel_with_its_own_block() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, groups=2), nn.Conv2d(6, 2, 1))
    graph = ChannelGraph.trace(model, EXAMPLE)
    found = Ipad(omega=1.0, weights="readers")(model, graph, [])
    expected = torch.tensor([weights_on(model[1], channel, 1) for channel in range(4)])
    pairs = torch.zeros(len(graph)).scatter_reduce(0, graph.layers["0"], expected, "mean", include_self=False)
    torch.testing.assert_close(found[graph.layers["0"]], pairs[graph.layers["0"]])


@pytest.mark.parametrize("method", [Ipad, Downstream], ids=lambda kind: kind.__name__)
def test_ranked_filters_have_their_places_in_their_layers(method: Callable[..., Ipad | Downstream]) -> None:
    model = build("chain")  # where every group is one filter of one layer
    graph = ChannelGraph.trace(model, EXAMPLE)
    plain, ranked = (method(ranked=one)(model, graph, batches()) for one in (False, True))
    for ids in graph.layers.values():
        places = torch.empty(len(ids))
        places[plain[ids].argsort()] = torch.arange(1.0, len(ids) + 1)
        torch.testing.assert_close(ranked[ids], places / len(ids))


@pytest.mark.parametrize("method", [Ipad, Downstream], ids=lambda kind: kind.__name__)
def test_a_layer_that_was_held_back_is_the_first_to_give_by_ranks(method: Callable[..., Ipad | Downstream]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 2, 1))
    graph = ChannelGraph.trace(model, EXAMPLE)
    cut(model, graph, graph.layers["0"][:4])
    scores = method(ranked=True)(model, graph, batches())
    torch.testing.assert_close(scores[graph.layers["0"]].sort().values, torch.arange(5.0, 9.0) / 8)
    torch.testing.assert_close(scores[graph.layers["1"]].sort().values, torch.arange(1.0, 9.0) / 8)


def test_what_readers_read_of_a_constant_filter_does_not_deviate_from_its_own_mean() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, 7.0
    graph = ChannelGraph.trace(model, EXAMPLE)
    own, layer = (Ipad(omega=0.0, of="reads", around=one)(model, graph, batches()) for one in ("own", "layer"))
    assert float(own[1]) == 0.0 < float(own[[0, 2, 3]].min())
    assert int(layer[:4].argmax()) == 1


@pytest.mark.parametrize("p", [1, 2])
def test_grouped_transposed_convolution_scores_its_own_kernels(p: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), nn.ReLU(), nn.Conv2d(6, 2, 1)
    )
    graph = ChannelGraph.trace(model, EXAMPLE)
    method = Ipad(omega=0.5, p=p)
    expected = naive(model, graph, torch.cat([image for image, _ in batches()]), method)
    torch.testing.assert_close(method(model, graph, batches()), expected.float(), rtol=1e-4, atol=1e-8)


def test_a_hand_made_layer_has_the_score_worked_out_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1))
    graph = ChannelGraph.trace(model, torch.zeros(1, 1, 2, 2))
    images = [(torch.full((1, 1, 2, 2), value), torch.zeros(1, 2, 2)) for value in (1.0, 3.0)]
    # Mean maps are 2 and 6 at all four positions, their mean 4, so that both filters deviate by 2 at each of them.
    by_sum, by_root = Ipad(equalizer=10)(model, graph, images), Ipad(p=2, equalizer=10)(model, graph, images)
    torch.testing.assert_close(by_sum[:2], torch.tensor([0.5 * 1 + 0.5 * 10 * 8 / 4, 0.5 * 3 + 0.5 * 10 * 8 / 4]))
    torch.testing.assert_close(by_root[:2], torch.tensor([0.5 * 1 + 0.5 * 10 * 4 / 4, 0.5 * 3 + 0.5 * 10 * 4 / 4]))


def test_images_of_several_sizes_count_by_their_number() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    small, large = batches(images=2, size=8), batches(images=4, size=12)
    method = Ipad(omega=0.0)
    mixed = method(model, graph, [*small, *large])
    expected = (2 * method(model, graph, small) + 4 * method(model, graph, large)) / 6
    torch.testing.assert_close(mixed, expected)


def test_maps_of_equal_area_and_other_shape_are_not_mixed() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    wide, high = torch.randn(1, 3, 4, 16), torch.randn(1, 3, 16, 4)
    method, mask = Ipad(omega=0.0), torch.zeros(1)
    mixed = method(model, graph, [(wide, mask), (high, mask)])
    expected = (method(model, graph, [(wide, mask)]) + method(model, graph, [(high, mask)])) / 2
    torch.testing.assert_close(mixed, expected)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    kept: list[weakref.ref[Tensor]] = []
    model.conv2.register_forward_hook(lambda _m, _i, output: kept.append(weakref.ref(output)))
    most_alive = 0

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal most_alive
        for image, mask in batches(images=20):
            gc.collect()
            most_alive = max(most_alive, sum(reference() is not None for reference in kept))
            yield image, mask

    Ipad()(model, graph, stream())
    assert len(kept) == 10
    assert most_alive == 0


def test_weights_alone_need_no_images() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    assert bool((Ipad(omega=1.0)(model, graph, [])[graph.prunable] > 0).all())
    with pytest.raises(LabError, match=r"got no images.*score_images"):
        Ipad()(model, graph, [])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"omega": 1.5}, "omega=1.5"),
        ({"p": 3}, "p=3"),
        ({"normalize": "mean"}, "normalize=mean"),
        ({"of": "all"}, "of=all must be outputs or reads"),
        ({"around": "all"}, "around=all must be layer or own"),
        ({"weights": "all"}, "weights=all must be own or readers"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(LabError, match=message):
        Ipad(**wrong)
