"""Resources from the graph are what running the network would count."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.models import DeepLabV3, UNet
from pruning_lab.resources.counting import measure, savings
from pruning_lab.resources.running_totals import RunningTotals
from tests.networks.two_paths import TwoPaths, random_groups, traced

MODELS = {
    "two paths": lambda: TwoPaths(),
    "unet bilinear": lambda: UNet(classes=3, width=4, depth=3),
    "unet transposed": lambda: UNet(classes=3, width=4, depth=2, upsampling="transposed"),
    "deeplab": lambda: DeepLabV3(classes=3, backbone="resnet26_narrow", head_width=16),
}


def counted_flops(model: nn.Module, image: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return counter.get_total_flops()


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(params=MODELS, scope="module")
def model_and_graph(request: pytest.FixtureRequest) -> tuple[nn.Module, ChannelGraph]:
    return traced(MODELS[request.param](), size=32)


def test_counts_equal_torchs_counter_and_the_parameters_before_and_after_a_cut(model_and_graph) -> None:
    model, graph = model_and_graph
    image = torch.zeros(1, 3, 32, 32)
    for share in (0.0, 0.3, 0.5):
        removed = random_groups(graph, share)
        predicted = measure(graph, removed)
        cut(model, graph, removed)
        now = measure(graph)
        assert now == predicted
        assert now.flops == 2 * now.macs == counted_flops(model, image)
        assert now.weights == parameter_count(model)
        tensors = [*model.parameters(), *model.buffers()]
        assert now.bytes == sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_layers_add_up_to_the_whole() -> None:
    _, graph = traced()
    whole = measure(graph)
    assert sum(layer.macs for layer in whole.layers.values()) == whole.macs
    norm = 2 * 8
    assert sum(layer.weights for layer in whole.layers.values()) == whole.weights - norm


def test_stride_output_size_and_transposed_convolutions_are_counted() -> None:
    _, graph = traced(size=16)
    layers = measure(graph).layers
    assert layers["down"].macs == 8 * 8 * 6 * 8 * 9
    assert layers["up"].macs == 8 * 8 * 6 * 5 * 4
    assert layers["depthwise"].macs == 16 * 16 * 8 * 9
    assert layers["up"].weights == 6 * 5 * 4 + 5


def test_dilation_changes_the_output_size_only() -> None:
    _, plain = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)))
    _, dilated = traced(nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2), nn.Conv2d(4, 2, 3)))
    assert measure(plain).layers["0"].macs == 14 * 14 * 4 * 3 * 9
    assert measure(dilated).layers["0"].macs == 12 * 12 * 4 * 3 * 9


def test_savings_tell_what_the_removal_of_each_single_group_does() -> None:
    _, graph = traced()
    whole, saved = measure(graph), savings(graph)
    for group in range(len(graph)):
        alone = measure(graph, graph.as_mask([group]))
        assert int(saved.macs[group]) == whole.macs - alone.macs
        assert int(saved.weights[group]) == whole.weights - alone.weights


def test_running_totals_agree_with_a_measurement_after_every_removal() -> None:
    _, graph = traced()
    running = RunningTotals(graph)
    removed = torch.zeros(len(graph), dtype=torch.bool)
    for group in random_groups(graph, 0.6).nonzero().flatten().tolist():
        running.take(running.without(group))
        removed[group] = True
        now = measure(graph, removed)
        assert running.totals == {"flops": now.flops, "weights": now.weights}
        for name, layer in now.layers.items():
            assert running.by_layer["filters", name] == layer.filters
            assert running.by_layer["flops", name] == layer.flops
            assert running.by_layer["weights", name] == layer.weights


def test_a_removal_says_what_it_costs_before_it_is_taken() -> None:
    _, graph = traced()
    running = RunningTotals(graph)
    before = dict(running.by_layer)
    removal = running.without(int(graph.layers["down"][0]))
    assert running.by_layer == before
    assert removal.lost["filters", "down"] == 1
    assert {place: before[place] - lost for place, lost in removal.lost.items()} == removal.left
    running.take(removal)
    assert running.by_layer == before | removal.left


def test_a_removal_that_was_worked_out_for_other_totals_is_refused() -> None:
    _, graph = traced()
    running = RunningTotals(graph)
    first, second = (running.without(int(graph.layers[name][0])) for name in ("down", "first"))
    running.take(first)
    with pytest.raises(ValueError, match="ask again"):
        running.take(second)
    with pytest.raises(ValueError, match="ask again"):
        running.take(first)
