"""What every compensation promises, on every kind of reader."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of
from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import tensors_in
from pruning_lab.compensation import Before, LeastSquares, Mean, NoCompensation, Norms, Report
from pruning_lab.graph import ChannelGraph
from pruning_lab.surgery import cut
from tests.graph.helpers import draw
from tests.graph.test_zoo import LIBRARIES, shaken
from tests.networks.combined import NETS, combined
from tests.networks.constructs import CASES as GRAPH_CASES
from tests.networks.constructs import make
from tests.networks.drawn import SIZE, networks

METHODS = {"none": NoCompensation, "norms": Norms, "mean": Mean, "least_squares": LeastSquares}
WITH_BEFORE = {name: METHODS[name] for name in ("mean", "least_squares")}


def batches(image: Tensor, size: int = 4) -> list[tuple[Tensor, Tensor]]:
    return [(part, torch.zeros(len(part))) for part in image.split(size)]


def error(answer: object, target: object) -> float:
    """Squared error over the sum of squares about the mean."""
    pairs = [(a.double(), b.double()) for a, b in zip(tensors_in(answer), tensors_in(target), strict=True)]
    spread = sum(float((b - b.mean()).square().sum()) for _, b in pairs)
    return sum(float((a - b).square().sum()) for a, b in pairs) / spread


@torch.no_grad()
def compensated(
    method: LeastSquares | Mean, model: nn.Module, graph: ChannelGraph, groups: Tensor | list[int], image: Tensor
) -> tuple[Report, nn.Module, nn.Module]:
    """The report, the network with the plain cut, and the compensated one; model and graph stay as they are."""
    small, left = copy_of(model), copy.copy(graph)
    before = Before.of(small, left)
    cut(small, left, groups)
    plain = copy_of(small)
    return method(before, small, left, batches(image)), plain, small


@pytest.mark.parametrize("name", NETS)
def test_what_follows_from_other_channels_is_cut_without_a_loss(name: str) -> None:
    model, graph, image, groups = combined(name)
    report, plain, small = compensated(LeastSquares(images=1000), model, graph, groups, image)
    with torch.no_grad():
        wanted = model(image)
        assert error(plain(image), wanted) > 1e-3
        assert (small(image) - wanted).abs().max() < 1e-4 * wanted.abs().max()
    assert report.kept
    assert report.compensated < 1e-8


@pytest.mark.parametrize("name", ["without bias, before a norm", "convolution"])
def test_the_exact_repair_holds_for_images_that_it_did_not_see(name: str) -> None:
    model, graph, image, groups = combined(name)
    _, _, small = compensated(LeastSquares(), model, graph, groups, image)
    other = torch.randn(image.shape)
    with torch.no_grad():
        assert (small(other) - model(other)).abs().max() < 1e-4 * model(other).abs().max()


@pytest.mark.parametrize("method", WITH_BEFORE)
@pytest.mark.parametrize("name", GRAPH_CASES)
def test_no_squared_error_grows(name: str, method: str) -> None:
    model, inputs = make(name)
    if len(inputs) > 1:
        pytest.skip("compensation looks at images, one tensor each")
    graph = ChannelGraph.trace(model, inputs)
    groups = draw(graph, 0)
    never_worse(WITH_BEFORE[method](), model, graph, groups, inputs[0])


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("torchvision", "resnet18"),
        ("torchvision", "lraspp_mobilenet_v3_large"),
        pytest.param("torchvision", "deeplabv3_resnet50", marks=pytest.mark.slow),
        pytest.param("torchvision", "densenet121", marks=pytest.mark.slow),
        pytest.param("torchvision", "efficientnet_b0", marks=pytest.mark.slow),
        pytest.param("segmentation_models_pytorch", "Unet", marks=pytest.mark.slow),
        pytest.param("segmentation_models_pytorch", "FPN", marks=pytest.mark.slow),
        pytest.param("segmentation_models_pytorch", "DeepLabV3Plus", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_no_squared_error_grows_on_public_models(library: str, name: str) -> None:
    torch.manual_seed(0)
    model = shaken(LIBRARIES[library][0](name))
    image = torch.randn(4, 3, 64, 64)
    graph = ChannelGraph.trace(model, image[:1], prove=False)
    never_worse(LeastSquares(samples=1024), model, graph, draw(graph, 0, fraction=0.2), image)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(network=networks(), seed=st.integers(0, 9))
def test_no_squared_error_grows_on_random_networks(network: nn.Module, seed: int) -> None:
    image = torch.randn(4, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    graph = ChannelGraph.trace(network, image[:2])
    never_worse(LeastSquares(), network, graph, draw(graph, seed), image)


def never_worse(
    method: LeastSquares | Mean, model: nn.Module, graph: ChannelGraph, groups: Tensor, image: Tensor
) -> None:
    """Neither a reader nor the answer is farther from what it was than without, and the report says what came of it."""
    report, plain, small = compensated(method, model, graph, groups, image)
    with torch.no_grad():
        wanted = model(image)
        was, now = error(plain(image), wanted), error(small(image), wanted)
    assert now <= was * (1 + 1e-4) + 1e-9
    assert now == pytest.approx(report.compensated if report.kept else report.plain, rel=1e-2, abs=1e-6)
    if report.kept and report.passes == 3:
        assert all(layer.after <= layer.before * (1 + 1e-6) for layer in report.layers.values())


@pytest.mark.parametrize("method", METHODS)
def test_what_a_cut_does_not_touch_stays(method: str) -> None:
    model, graph, image, groups = combined("convolution")
    small = copy.deepcopy(model)
    before = Before.of(small, graph)
    cut(small, graph, groups)
    weights = copy.deepcopy(small.state_dict())
    METHODS[method]()(before, small, graph, batches(image))
    changed = {name for name, tensor in small.state_dict().items() if not torch.equal(tensor, weights[name])}
    allowed = {
        "none": set(),
        "norms": set(),
        "mean": {"reader.bias"},
        "least_squares": {"reader.weight", "reader.bias"},
    }
    assert changed - {"head.weight", "head.bias"} == allowed[method]
    if method in ("none", "norms"):
        assert not changed
    assert {name: tensor.shape for name, tensor in small.state_dict().items()} == {
        n: t.shape for n, t in weights.items()
    }


def test_the_mean_of_what_is_cut_goes_into_the_bias() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1))
    graph = ChannelGraph.trace(model, torch.zeros(1, 1, 4, 4))
    image = torch.randn(8, 1, 4, 4) + 1
    report, plain, small = compensated(Mean(), model, graph, [1], image)
    with torch.no_grad():
        mean = model[0](image)[:, 1].mean()
        expected = plain[1].bias + model[1].weight[:, 1, 0, 0] * mean
    torch.testing.assert_close(small[1].bias, expected)
    assert torch.equal(small[1].weight, plain[1].weight)
    assert report.layers["1"].after < report.layers["1"].before


def test_the_norm_behind_takes_the_shift_of_a_reader_without_bias() -> None:
    model, graph, image, groups = combined("without bias, before a norm")
    _, plain, small = compensated(Mean(), model, graph, groups, image)
    with torch.no_grad():
        missing = model.reader(model.source(image)) - plain.reader(plain.source(image))
    expected = plain.behind.running_mean - missing.mean((0, 2, 3))
    torch.testing.assert_close(small.behind.running_mean, expected, rtol=1e-4, atol=1e-5)


def test_norms_measure_mean_and_variance_of_what_the_small_network_hands_them() -> None:
    model, graph, image, groups = combined("without bias, before a norm")
    model.train()
    cut(model, graph, groups)
    momentum = model.behind.momentum
    report = Norms()(None, model, graph, batches(image, size=6))
    with torch.no_grad():
        seen = model.reader(model.source(image)).movedim(1, 0).flatten(1)
    torch.testing.assert_close(model.behind.running_mean, seen.mean(1))
    torch.testing.assert_close(model.behind.running_var, seen.var(1))
    assert model.behind.momentum == momentum
    assert model.training
    assert report.passes == 1


def test_a_computed_weight_stays_and_its_layer_is_named() -> None:
    model, inputs = make("weight norm")
    graph = ChannelGraph.trace(model, inputs)
    report, plain, small = compensated(LeastSquares(), model, graph, draw(graph, 0), inputs[0])
    assert "2" in report.left
    assert torch.equal(small[2].weight, plain[2].weight)


@pytest.mark.parametrize("name", ["twice", "without bias, before a norm"])
def test_it_leaves_modes_hooks_and_the_network_before_alone(name: str) -> None:
    model, graph, image, groups = combined(name)
    model.train()
    before = Before.of(model, graph)
    weights = copy.deepcopy(before.model.state_dict())
    cut(model, graph, groups)
    LeastSquares()(before, model, graph, batches(image))
    assert all(module.training for module in model.modules())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(tensor, weights[key]) for key, tensor in before.model.state_dict().items())


def test_layers_that_run_several_times_take_a_second_way_through() -> None:
    model, graph, image, groups = combined("twice")
    report, _, _ = compensated(LeastSquares(), model, graph, groups, image)
    assert report.passes == 5
    model, graph, image, groups = combined("convolution")
    assert compensated(LeastSquares(), model, graph, groups, image)[0].passes == 3


def test_the_base_can_be_what_a_second_cut_is_held_against() -> None:
    model, graph, image, _ = combined("convolution")
    before = Before.of(model, graph)
    wanted = model(image)
    for _ in range(2):
        cut(model, graph, [int(graph.layers["source"][-1])])
    report = LeastSquares()(before, model, graph, batches(image))
    assert report.compensated < 1e-8
    torch.testing.assert_close(model(image), wanted, rtol=1e-3, atol=1e-4)


def test_another_network_than_the_one_before_the_cut_is_a_mistake() -> None:
    model, graph, image, groups = combined("convolution")
    smaller, left = copy.deepcopy(model), copy.copy(graph)
    cut(smaller, left, groups)
    with pytest.raises(LabError, match="did not have before"):
        LeastSquares()(Before.of(smaller, left), model, graph, batches(image))


@pytest.mark.parametrize("method", WITH_BEFORE.values())
def test_a_mistake_is_one_line(method: Callable[..., LeastSquares | Mean]) -> None:
    model, graph, _, _ = combined("convolution")
    with pytest.raises(LabError, match="needs the network before the cut"):
        method()(None, model, graph, [])
    with pytest.raises(LabError, match="no images"):
        method()(Before.of(model, graph), model, graph, [])
    with pytest.raises(LabError, match="samples=0"):
        method(samples=0)


def test_memory_bounds_images_and_rows() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 64, 64))
    image = torch.randn(6, 3, 64, 64)
    report, _, _ = compensated(LeastSquares(memory_mb=8), model, graph, [1, 2], image)
    assert report.images == int(8 * 2**20 / (2 * graph.memory.peak_bytes()))
    assert report.layers["2"].samples <= 8 * 2**20 / (62 * 9 * 4)
    assert compensated(LeastSquares(), model, graph, [1, 2], image)[0].images == 6
