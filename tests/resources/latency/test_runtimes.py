"""Networks are run as the target runs them, and give what they give in torch."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.latency.clock import Clock
from pruning_lab.resources.latency.drawing import drawn
from pruning_lab.resources.latency.measuring import Effort, latency_model
from pruning_lab.resources.latency.operators import Operators
from pruning_lab.resources.latency.profiles import LayerTime, quickest
from pruning_lab.resources.latency.runtimes import EagerReady, OnnxReady, OnnxTemplate, exported, prepare
from pruning_lab.resources.latency.target import Target
from pruning_lab.surgery import cut

IMAGE = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Mobile(nn.Module):
    """A depthwise convolution between two others, a concatenation, and a linear layer at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.last = nn.Conv2d(32, 12, 1)
        self.head = nn.Linear(12, 5)

    def forward(self, image: Tensor) -> Tensor:
        found = self.first(image)
        joined = torch.cat([found, self.depthwise(found).relu()], dim=1)
        return self.head(self.last(joined).mean(dim=(2, 3)))


def target(runtime: str, cache: Path | None = None) -> Target:
    return Target(runtime, cache=cache).filled("cpu", "float32", False, (16, 16), 1)


def model_and_graph() -> tuple[nn.Module, ChannelGraph]:
    torch.manual_seed(0)
    model = Mobile().eval()
    return model, ChannelGraph.trace(model, IMAGE)


def smaller(model: nn.Module, graph: ChannelGraph) -> tuple[nn.Module, ChannelGraph]:
    model, graph = copy.deepcopy(model), copy.copy(graph)
    draw = drawn(graph, 1, seed=3)
    cut(model, graph, [next(draw) for _ in range(3)][-1])
    return model, graph


def test_one_export_serves_every_network_that_is_cut_from_it() -> None:
    pytest.importorskip("onnxruntime")
    model, graph = model_and_graph()
    template = OnnxTemplate(model, IMAGE)
    for network in (model, smaller(model, graph)[0]):
        proto = template.filled(network)
        assert proto is not None
        (found,) = OnnxReady(proto, IMAGE, target("onnxruntime")).run()
        with torch.inference_mode():
            assert torch.allclose(torch.from_numpy(found), network(IMAGE), atol=1e-4)


def test_a_network_without_a_template_is_exported_by_itself() -> None:
    pytest.importorskip("onnxruntime")
    model, _ = model_and_graph()
    (found,) = prepare(model, IMAGE, target("onnxruntime")).run()
    with torch.inference_mode():
        assert torch.allclose(torch.from_numpy(found), model(IMAGE), atol=1e-4)


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime"])
def test_what_a_runtime_tells_of_layers_is_what_the_network_has(runtime: str) -> None:
    pytest.importorskip("onnxruntime")
    model, graph = model_and_graph()
    operators = Operators(model, (IMAGE,), graph, None)
    network, left = smaller(model, graph)
    ready = prepare(network, IMAGE, target(runtime))
    reading, profile = ready.profile(Clock(target(runtime)))
    assert profile is not None
    assert reading.time > 0
    lengths = operators.lengths(operators.alive(left))
    told = operators.told(profile.layers, lengths)
    own = [(one.shape, int(lengths[one.reads]), int(lengths[one.gives])) for one in operators.layers]
    assert sorted((one.shape, one.reads, one.gives) for one in told) == sorted(own)
    assert all(one.time > 0 for one in told)


def test_channels_in_full_blocks_are_given_back_to_the_layers_that_have_them() -> None:
    model, graph = model_and_graph()
    operators = Operators(model, (IMAGE,), graph, None)
    lengths = operators.lengths(np.ones(operators.groups, dtype=bool))
    shape = operators.layers[0].shape
    told = operators.told([LayerTime(shape, 8, 24, 2.0), LayerTime("another", 8, 8, 1.0)], lengths)
    assert told == [LayerTime(shape, 3, 16, 2.0)]


def test_of_several_passes_the_shortest_time_of_each_operator_counts() -> None:
    model, _ = model_and_graph()
    ready: Any = prepare(model, IMAGE, target("eager"))
    assert isinstance(ready, EagerReady)
    _, profile = ready.profile(Clock(target("eager")))
    assert profile is not None
    twice = quickest([profile, profile.times(2)])
    assert twice.total == pytest.approx(profile.total)


def test_the_model_is_left_as_it_is() -> None:
    model, _ = model_and_graph()
    model.train()
    before = copy.deepcopy(model.state_dict())
    exported(model, IMAGE)
    prepare(model, IMAGE, target("eager")).run()
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_a_runtime_does_not_take_is_one_line() -> None:
    class Odd(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.linalg.eigvals(image[..., :3, :3]).real

    with pytest.raises(LabError, match="ONNX can't take the network"):
        prepare(Odd(), IMAGE, target("onnxruntime"))


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["eager", "onnxruntime"])
def test_real_times_are_predicted(runtime: str, tmp_path: Path) -> None:
    """On a busy machine: half of ten networks within 40 %."""
    model, graph = model_and_graph()
    predictor = latency_model(model, graph, target(runtime, tmp_path), 3, effort=Effort(seconds=10.0))
    clock, errors, draw = Clock(target(runtime)), [], drawn(graph, 1, seed=9)
    for removed in [next(draw) for _ in range(10)]:
        network, left = copy.deepcopy(model), copy.copy(graph)
        if removed.any():
            cut(network, left, removed)
        (reading,) = clock.in_turns([prepare(network, IMAGE, target(runtime)).run], rounds=1)
        errors.append(abs(predictor.seconds(left) / (reading.time * predictor.unit) - 1))
    assert np.median(errors) < 0.4
