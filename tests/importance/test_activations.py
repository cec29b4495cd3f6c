"""Methods that look at activations, against the formulas written out channel by channel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Apoz, Chip, HRank, Importance, MeanActivation
from tests.networks.scored import EXAMPLE, NETS, batches, build


def reads_of(model: nn.Module, graph: ChannelGraph) -> dict[int, list[list[Tensor]]]:
    """Group -> for every channel by which it is read, its maps for all images."""
    seen: dict[str, Tensor] = {}
    for consumer in graph.consumers:
        module = model.get_submodule(consumer.layer)
        module.register_forward_pre_hook(lambda _m, inputs, name=consumer.layer: seen.__setitem__(name, inputs[0]))
    with torch.no_grad():
        model.eval()(torch.cat([image for image, _ in batches()]))
    maps: dict[int, list[list[Tensor]]] = {}
    for consumer in graph.consumers:
        for channel, group in enumerate(consumer.channels.tolist()):
            if group >= 0:
                maps.setdefault(group, []).append(list(seen[consumer.layer][:, channel].double()))
    return maps


def rank_share(image_map: Tensor) -> float:
    matrix = image_map if image_map.dim() == 2 else image_map.reshape(-1, 1)
    return int(torch.linalg.matrix_rank(matrix.float())) / min(matrix.shape)


FORMULAS: dict[str, tuple[Importance, Callable[[Tensor], float]]] = {
    "mean_activation": (MeanActivation(), lambda image_map: float(image_map.abs().mean())),
    "apoz": (Apoz(), lambda image_map: 1 - float((image_map == 0).double().mean())),
    "hrank": (HRank(), rank_share),
}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", FORMULAS)
def test_equals_the_formula(name: str, net: str) -> None:
    method, formula = FORMULAS[name]
    graph = ChannelGraph.trace(build(net), EXAMPLE)
    expected = torch.zeros(len(graph))
    for group, channels in reads_of(build(net), graph).items():
        means = [sum(map(formula, images)) / len(images) for images in channels]
        expected[group] = sum(means) / len(means)
    torch.testing.assert_close(method(build(net), graph, batches()), expected, rtol=1e-4, atol=1e-6)


def test_chip_is_the_loss_of_nuclear_norm_within_the_layer_that_made_the_channel() -> None:
    model = build("unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    scores = Chip(images=None)(model, graph, batches())
    seen: list[Tensor] = []
    model.join.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.eval()(torch.cat([image for image, _ in batches()]))
    of_rise = seen[0][:, 4:].double().flatten(2)
    for channel, group in enumerate(graph.layers["rise"].tolist()):
        without = of_rise.clone()
        without[:, channel] = 0
        lost = [
            float(torch.linalg.matrix_norm(whole, "nuc") - torch.linalg.matrix_norm(part, "nuc"))
            for whole, part in zip(of_rise, without, strict=True)
        ]
        assert float(scores[group]) == pytest.approx(sum(lost) / len(lost), rel=1e-4)


def test_chip_looks_at_as_many_images_as_it_was_told() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    first_three = [(image[:1] if place else image, mask) for place, (image, mask) in enumerate(batches()[:2])]
    torch.testing.assert_close(
        Chip(images=3)(model, graph, batches()), Chip(images=None)(model, graph, first_three), rtol=1e-5, atol=1e-7
    )
    with pytest.raises(LabError, match="images=0"):
        Chip(images=0)


def test_chip_thinks_least_of_a_channel_that_another_repeats() -> None:
    model = build("chain")
    with torch.no_grad():
        for module in (model.conv1, model.norm1):
            module.weight[1] = module.weight[0]
        for tensor in (model.norm1.bias, model.norm1.running_mean, model.norm1.running_var):
            tensor[1] = tensor[0]
    graph = ChannelGraph.trace(model, EXAMPLE)
    scores = Chip()(model, graph, batches())[graph.layers["conv1"]]
    alone = Chip()(build("chain"), graph, batches())[graph.layers["conv1"]]
    assert scores[0] == pytest.approx(float(scores[1]), rel=1e-4)
    assert scores[0] < alone[0] / 2


def test_apoz_counts_the_zeros_of_a_channel() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        model[0].bias.zero_()
    image = torch.tensor([[1.0, 2.0], [3.0, -1.0]]).reshape(1, 1, 2, 2)
    graph = ChannelGraph.trace(model, image)
    assert Apoz()(model, graph, [(image, torch.zeros(1))])[:2].tolist() == [0.75, 0.25]


@pytest.mark.parametrize("method", [MeanActivation(), Apoz(), HRank(), Chip()], ids=repr)
def test_no_images_is_an_error_that_names_the_knob(method: Importance) -> None:
    model = build("chain")
    with pytest.raises(LabError, match="score_images"):
        method(model, ChannelGraph.trace(model, EXAMPLE), [])
