"""The model of latency, made of a machine whose times are known: nothing here waits for a clock."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.models import RITnet, UNet
from pruning_lab.resources.latency import measuring
from pruning_lab.resources.latency.clock import Clock, Reading
from pruning_lab.resources.latency.drawing import drawn
from pruning_lab.resources.latency.measuring import Effort, latency_model
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.resources.latency.operators import Operators
from pruning_lab.resources.latency.profiles import LayerTime, Profile, eager_profile
from pruning_lab.resources.latency.target import Target
from pruning_lab.surgery import cut

IMAGE = torch.zeros(1, 3, 32, 32)
STEP = 8


class Known:
    """A network on a machine whose times are known, in steps of 8 channels; it remembers every network it is given."""

    given: list[nn.Module] = []  # noqa: RUF012

    def __init__(self, model: nn.Module, example: Tensor, target: Target, template: object = None) -> None:
        self.model, self.example = model.eval(), example
        Known.given.append(model)

    def run(self) -> Any:
        with torch.inference_mode():
            return self.model(self.example)

    def profile(self, clock: Clock) -> tuple[Reading, Profile | None]:
        with torch.inference_mode():
            seen = eager_profile(self.run, clock)
        layers = tuple(LayerTime(one.shape, one.reads, one.gives, layer_time(one)) for one in seen.layers)
        profile = Profile(layers, dict.fromkeys(seen.rest, 0.1))
        return Reading(profile.total, 0.0, 3), profile


def layer_time(one: LayerTime) -> float:
    blocks = -(-one.reads // STEP) * -(-one.gives // STEP)
    return 0.2 + blocks * (0.4 if "3x3" in one.shape else 0.1)


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    Known.given = []
    monkeypatch.setattr(measuring, "prepare", Known)
    monkeypatch.setattr(measuring, "find_step", lambda target, clock: STEP)


def target(cache: Path | None = None) -> Target:
    return Target(cache=cache).filled("cpu", "float32", False, (32, 32), 1)


def traced(model: nn.Module) -> ChannelGraph:
    return ChannelGraph.trace(model, IMAGE)


def modelled(model: nn.Module, cache: Path | None = None) -> LatencyModel:
    return latency_model(model, traced(model), target(cache), 3, effort=Effort(seconds=0.0, samples=10))


def unet(width: int = 16) -> nn.Module:
    torch.manual_seed(0)
    return UNet(3, 2, width=width, depth=2).eval()


def truth(model: nn.Module) -> float:
    return Known(model, IMAGE, target()).profile(Clock(target()))[0].time


@pytest.mark.parametrize("build", [unet, lambda: RITnet(3, 4, width=16).eval()])
def test_rows_are_as_long_as_the_channels_that_a_cut_network_runs_with(build: Callable[[], nn.Module]) -> None:
    model = build()
    graph = traced(model)
    operators = Operators(model, (IMAGE,), graph, None)
    draw = drawn(graph, 1)
    for removed in [next(draw) for _ in range(4)]:
        smaller, left = copy.deepcopy(model), copy.copy(graph)
        if removed.any():
            cut(smaller, left, removed)
        with torch.inference_mode():
            seen = eager_profile(lambda net=smaller: net(IMAGE), Clock(target())).layers  # type: ignore[misc]
        lengths = operators.lengths(operators.alive(left))
        told = [(one.shape, lengths[one.reads], lengths[one.gives]) for one in operators.layers]
        assert told == [(one.shape, one.reads, one.gives) for one in seen]


def test_networks_that_were_never_timed_are_predicted() -> None:
    model, graph = unet(), traced(unet())
    predictor = modelled(model)
    errors = []
    draw = drawn(graph, 1, seed=99)
    for removed in [next(draw) for _ in range(12)]:
        smaller, left = copy.deepcopy(model), copy.copy(graph)
        if removed.any():
            cut(smaller, left, removed)
        predicted = predictor.seconds(left) / predictor.unit
        errors.append(abs(predicted / truth(smaller) - 1))
        assert predictor.seconds(graph, removed) == pytest.approx(predictor.seconds(left))
    assert np.median(errors) < 0.02
    assert max(errors) < 0.1


def test_what_is_known_is_not_timed_again(tmp_path: Path) -> None:
    first = modelled(unet(), tmp_path)
    timed = len(Known.given)
    assert timed >= 10
    second = modelled(unet(), tmp_path)
    assert len(Known.given) == timed
    assert second.whole == first.whole


def test_a_second_network_of_known_layers_is_only_calibrated(tmp_path: Path) -> None:
    modelled(unet(16), tmp_path)
    timed = len(Known.given)
    model = unet(12)
    predictor = modelled(model, tmp_path)
    assert len(Known.given) == timed + Effort().calibrating
    assert predictor.whole / predictor.unit == pytest.approx(truth(model), rel=0.05)


def test_the_model_and_its_graph_stay_as_they_are() -> None:
    model = unet()
    graph, before = traced(model), copy.deepcopy(model.state_dict())
    latency_model(model, graph, target(), 3, effort=Effort(seconds=0.0))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert len(graph) == len(traced(model))


def test_drawn_networks_keep_something_of_every_layer_and_a_third_are_in_steps() -> None:
    graph = traced(unet())
    draw = drawn(graph, 8)
    assert not next(draw).any()
    networks = [graph.without(next(draw)) for _ in range(20)]
    assert all(min(each.widths.values()) >= 1 for each in networks)
    rounded = [all(width % 8 == 0 or width < 8 for width in each.widths.values()) for each in networks]
    assert 8 <= sum(rounded) <= 11
