"""After a repair training starts from the repaired network: same answer, in both modes, with filters of their sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.compensation import Before, LeastSquares
from pruning_lab.compensation.patches import weight_rows
from pruning_lab.compensation.readers import readers_of
from pruning_lab.compensation.statistics import Statistics
from pruning_lab.graph import ChannelGraph
from pruning_lab.surgery import cut

IMAGES = torch.randn(6, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def network(middle: nn.Module) -> tuple[nn.Sequential, ChannelGraph, Before]:
    """A network that has lost some filters of its first layer; the one in the middle reads them, before a norm."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), middle, nn.BatchNorm2d(6), nn.ReLU())
    model.append(nn.Conv2d(6, 2, 1)).eval()
    norm = model[3]
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    with torch.no_grad():
        seen = model[:3](IMAGES)
    norm.running_mean = seen.mean((0, 2, 3))
    norm.running_var = seen.var((0, 2, 3))
    graph = ChannelGraph.trace(model, IMAGES[:1])
    before = Before.of(model, graph)
    cut(model, graph, graph.layers["0"].unique()[:2])
    return model, graph, before


MIDDLES = {
    "convolution": lambda: nn.Conv2d(8, 6, 3, bias=False),
    "transposed": lambda: nn.ConvTranspose2d(8, 6, 2, stride=2, bias=False),
    "grouped": lambda: nn.Conv2d(8, 6, 3, groups=2, bias=False),
}


@pytest.mark.parametrize("kind", MIDDLES)
def test_filters_keep_their_sizes_and_training_sees_what_evaluation_sees(kind: str) -> None:
    model, graph, before = network(MIDDLES[kind]())
    sizes = weight_rows(model[2]).norm(dim=2)
    report = LeastSquares()(before, model, graph, [(IMAGES, IMAGES)])
    assert report.kept
    assert "2" in report.layers
    torch.testing.assert_close(weight_rows(model[2]).norm(dim=2), sizes, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        evaluated = model(IMAGES)
        trained = model.train()(IMAGES)
    torch.testing.assert_close(trained, evaluated, rtol=1e-3, atol=1e-3)


def answer(model: nn.Module, image: Tensor) -> Tensor:
    with torch.no_grad():
        return model(image)


@pytest.mark.parametrize("kind", MIDDLES)
def test_settling_does_not_change_the_answer(kind: str) -> None:
    model, graph, before = network(MIDDLES[kind]())
    readers, _ = readers_of(before, model, graph, IMAGES[:1])
    statistics = Statistics(model, readers)
    with torch.no_grad():
        model[2].weight.mul_(torch.rand_like(model[2].weight) * 9)  # new weights of another size
    other = torch.randn_like(IMAGES)
    with statistics.watching():
        answer(model, IMAGES)
    wanted = answer(model, other)
    size = model[2].weight.detach().norm()
    statistics.settle(["2"])
    torch.testing.assert_close(answer(model, other), wanted, rtol=1e-4, atol=1e-4)
    assert float(model[2].weight.detach().norm()) < 0.5 * float(size)


def test_a_reader_that_was_not_repaired_and_its_norm_stay_bit_for_bit() -> None:
    model, graph, before = network(MIDDLES["convolution"]())
    readers, _ = readers_of(before, model, graph, IMAGES[:1])
    statistics = Statistics(model, readers)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    with statistics.watching():
        answer(model, IMAGES)
    statistics.settle([])
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
