"""Taylor and Hessian against gates that are really built into weights; the Jacobian criterion against gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.mask import mask
from pruning_lab.importance import Hessian, Jacobian, Taylor, cross_entropy, main_output
from tests.networks.scored import CLASSES, EXAMPLE, NETS, batches, build


def built_gates(model: nn.Module, graph: ChannelGraph) -> Tensor:
    """d loss / d gate for every image, [images, n_groups], by autograd through weights x gates."""
    model = copy.deepcopy(model).eval()
    rows = []
    for images, masks in batches():
        for image, target in zip(images, masks, strict=True):
            gates = torch.ones(len(graph) + 1, requires_grad=True)
            weights = dict(model.named_parameters())
            for consumer in graph.consumers:
                for name in consumer.tensors:
                    shape = [1] * weights[name].dim()
                    shape[consumer.dim] = -1
                    row = graph.tensors[name].axes.get(consumer.dim)
                    if row is not None:
                        weights[name] = weights[name] * gates[row].reshape(shape)
            logits = main_output(functional_call(model, weights, image[None]))
            rows.append(torch.autograd.grad(F.cross_entropy(logits, target[None]), gates)[0][:-1])
    return torch.stack(rows)


@pytest.mark.parametrize("net", NETS)
def test_taylor_is_the_mean_size_of_the_gates_derivative(net: str) -> None:
    model = build(net)
    graph = ChannelGraph.trace(model, EXAMPLE)
    expected = built_gates(model, graph).abs().mean(0)
    torch.testing.assert_close(Taylor()(model, graph, batches()), expected, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("net", NETS)
def test_hessian_is_half_the_mean_square_of_the_gates_derivative(net: str) -> None:
    model = build(net)
    graph = ChannelGraph.trace(model, EXAMPLE)
    expected = built_gates(model, graph).square().mean(0) / 2
    torch.testing.assert_close(Hessian()(model, graph, batches()), expected, rtol=1e-3, atol=1e-10)


def of_tensors(model: nn.Module, graph: ChannelGraph) -> Tensor:
    """Mean over images of the sum over layers of (weights x gradient)^2, by the gradients of all weights."""
    model = copy.deepcopy(model).eval()
    expected = torch.zeros(len(graph) + 1)
    images = [single for image, target in batches() for single in zip(image, target, strict=True)]
    for image, target in images:
        model.zero_grad()
        F.cross_entropy(main_output(model(image[None])), target[None]).backward()
        parts: dict[tuple[str, bool], Tensor] = {}
        for name, parameter in model.named_parameters():
            layer = name.rpartition(".")[0]
            for dim, row in graph.tensors[name].axes.items() if name in graph.tensors else ():
                other = [d for d in range(parameter.dim()) if d != dim]
                product = (parameter * parameter.grad).detach().sum(other) if other else (parameter * parameter.grad)
                is_input = dim != int(isinstance(model.get_submodule(layer), nn.ConvTranspose2d)) and bool(other)
                part = parts.setdefault((layer, is_input), torch.zeros(len(graph) + 1))
                part.index_add_(0, row % (len(graph) + 1), product.detach())
        for part in parts.values():
            expected += part.square()
    return expected[:-1] / len(images)


@pytest.mark.parametrize("net", NETS)
def test_the_jacobian_criterion_is_weights_x_gradient_squared_image_by_image(net: str) -> None:
    model = build(net)
    graph = ChannelGraph.trace(model, EXAMPLE)
    torch.testing.assert_close(Jacobian()(model, graph, batches()), of_tensors(model, graph), rtol=1e-3, atol=1e-9)


def test_the_jacobian_criterion_sees_layer_norms_whose_channels_are_last() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.head = nn.Conv2d(3, 5, 3, padding=1), nn.LayerNorm(5), nn.Conv2d(5, CLASSES, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.head(self.norm(self.first(image).movedim(1, -1)).movedim(-1, 1))

    torch.manual_seed(0)
    model = Block()
    graph = ChannelGraph.trace(model, EXAMPLE)
    torch.testing.assert_close(Jacobian()(model, graph, batches()), of_tensors(model, graph), rtol=1e-3, atol=1e-9)


def test_the_jacobian_criterion_sees_through_what_writes_into_its_input() -> None:
    torch.manual_seed(0)
    head = nn.Conv2d(4, CLASSES, 1)
    first = nn.Conv2d(3, 4, 3, padding=1)
    nets = [nn.Sequential(first, nn.LeakyReLU(0.3, inplace=inplace), head).eval() for inplace in (False, True)]
    plain, written = (Jacobian()(net, ChannelGraph.trace(net, EXAMPLE), batches()) for net in nets)
    torch.testing.assert_close(plain, written)


def test_taylor_is_exact_for_a_loss_that_is_linear_in_the_logits() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, CLASSES, 1))
    graph = ChannelGraph.trace(model, EXAMPLE)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return logits[:, 0].mean()

    data = [(image[:1], target[:1]) for image, target in batches()[:1]]
    scores = Taylor(loss)(model, graph, data)
    for group in range(4):
        masked = copy.deepcopy(model)
        mask(masked, graph, [group])
        with torch.no_grad():
            change = loss(model(data[0][0]), data[0][1]) - loss(masked(data[0][0]), data[0][1])
        assert float(scores[group]) == pytest.approx(abs(float(change)), rel=1e-4)


def test_a_channel_that_is_read_twice_counts_both_reads() -> None:
    class TwoReaders(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 1)
            self.left = nn.Conv2d(4, CLASSES, 1)
            self.right = nn.Conv2d(4, CLASSES, 3, padding=1)

        def forward(self, image: Tensor) -> Tensor:
            features = torch.relu(self.first(image))
            return self.left(features) + self.right(features)

    torch.manual_seed(0)
    model = TwoReaders()
    graph = ChannelGraph.trace(model, EXAMPLE)
    expected = built_gates(model, graph).abs().mean(0)
    torch.testing.assert_close(Taylor()(model, graph, batches()), expected, rtol=1e-3, atol=1e-8)


def test_modules_that_share_a_weight_are_all_readers() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Conv2d(3, 4, 1)
            self.one = nn.Conv2d(4, 4, 3, padding=1)
            self.other = nn.Conv2d(4, 4, 3, padding=1)
            self.other.weight = self.one.weight
            self.head = nn.Conv2d(4, CLASSES, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.head(torch.relu(self.one(torch.relu(self.other(self.enter(image))))))

    torch.manual_seed(0)
    model = Shared()
    graph = ChannelGraph.trace(model, EXAMPLE)
    assert set(graph.layers) & {"one", "other"}
    groups = graph.layers["enter"]
    whole = Taylor(lambda logits, target: logits[:, 0].mean())(model, graph, batches())
    one_step = 1e-3
    for group in groups.unique().tolist():
        slopes = []
        for image, _ in batches():
            for single in image.split(1):
                nudged = copy.deepcopy(model).eval()
                with torch.no_grad():
                    for reader in (nudged.one, nudged.head):
                        reader.weight[:, groups == group] *= 1 + one_step
                    slopes.append(float((nudged(single)[:, 0].mean() - model(single)[:, 0].mean()) / one_step))
        assert float(whole[group]) == pytest.approx(sum(map(abs, slopes)) / len(slopes), rel=0.1)


def test_the_default_loss_ignores_nothing_and_takes_any_integer_mask() -> None:
    logits, target = torch.randn(2, CLASSES, 4, 4), torch.randint(0, CLASSES, (2, 4, 4))
    by_hand = -logits.log_softmax(1).gather(1, target[:, None]).mean()
    torch.testing.assert_close(cross_entropy(logits, target.to(torch.uint8)), by_hand)


def test_the_logits_are_found_in_what_models_return() -> None:
    logits, other = torch.zeros(1), torch.ones(1)
    assert main_output(logits) is logits
    assert main_output({"aux": other, "out": logits}) is logits
    assert main_output({"logits": logits, "aux": other}) is logits
    assert main_output((logits, other)) is logits
    assert main_output([logits]) is logits
    with pytest.raises(LabError, match=r"returns str.*'out'"):
        main_output("mask")


def test_no_images_is_an_error_that_names_the_knob() -> None:
    model = build("chain")
    for method in (Taylor(), Hessian(), Jacobian()):
        with pytest.raises(LabError, match="score_images"):
            method(model, ChannelGraph.trace(model, EXAMPLE), [])
