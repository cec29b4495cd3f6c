"""How much is looked at: enough rows for each unknown, images by what they cost, three forward passes and no more."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.compensation import Before, LeastSquares
from pruning_lab.compensation.sampling import FEWEST, SOLVE_WORK, Sampling
from pruning_lab.compensation.solve import solve
from pruning_lab.graph import ChannelGraph
from pruning_lab.surgery import cut


@pytest.mark.parametrize("weights", [9, 144, 500])
def test_more_rows_than_the_rule_asks_for_change_a_solution_little(weights: int) -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(weights, weights, generator=generator) / weights**0.5
    wanted = torch.randn(weights, 4, generator=generator) / weights**0.5

    def drawn(count: int) -> tuple[Tensor, Tensor]:
        seen = torch.randn(count, weights, generator=generator).relu() @ mixing
        return seen.unsqueeze(1), (seen @ wanted + 0.5 * torch.randn(count, 4, generator=generator)).unsqueeze(1)

    def error(count: int) -> float:
        found = solve(*drawn(count), 1.0, shifts=True)
        seen, target = fresh
        left = target - torch.einsum("mgn,gon->mgo", seen.double(), found.weights) - found.shift
        return float(left.square().mean())

    fresh, rows = drawn(4000), Sampling().rows(weights, 4)
    assert rows <= 4096
    assert error(rows) < 1.2 * error(8 * rows)


def test_readers_of_few_weights_are_looked_at_in_fewer_places() -> None:
    sampling = Sampling(samples=4096, memory_mb=1)
    assert sampling.rows(9, 4) < sampling.rows(200, 4) <= 4096
    assert sampling.rows(1000, 4) == 2**20 // 4000  # as many as the memory holds


@pytest.mark.parametrize("weights", [1200, 1800, 3200, 6400])
def test_readers_of_many_weights_are_looked_at_in_as_many_places_as_can_be_solved(weights: int) -> None:
    rows = Sampling(samples=10**6, memory_mb=10**4).rows(weights, 4)
    assert rows * weights * min(rows, weights) <= SOLVE_WORK
    assert (rows + 1) * weights * min(rows + 1, weights) > SOLVE_WORK * (1 if rows >= weights else 0.9)


def test_images_are_as_many_as_the_work_allows_and_never_fewer_than_a_few() -> None:
    images = [torch.zeros(8, 3, 4, 4), torch.zeros(8, 3, 4, 4)]

    def left(work: float | None, macs: float) -> list[int]:
        return [len(image) for image in Sampling(images=16, work=work).affordable(images, macs)]

    assert left(None, 1e12) == [8, 8]
    assert left(10, 1e9) == [8, 2]
    assert left(10, 1e12) == [FEWEST]
    assert left(10, 0.0) == [8, 8]
    with pytest.raises(LabError, match="work=0"):
        LeastSquares(work=0)


def test_the_images_pass_three_times_and_one_more_than_that_is_looked_at_first() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2), nn.Conv2d(6, 2, 1)
    ).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 12, 12))
    before = Before.of(model, graph)
    cut(model, graph, [0, 1, 9])
    seen = []
    for net in (model, before.model):
        net.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    images = torch.randn(10, 3, 12, 12)
    report = LeastSquares(images=10)(before, model, graph, [(images[:6], images), (images[6:], images)])
    assert report.passes == 3
    assert report.images == 10
    assert sum(seen) == 3 * 10 + 1


def test_the_work_counts_multiply_adds_of_both_networks() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 5, 2, stride=2), nn.Conv2d(5, 2, 1)).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 10, 10))
    before = Before.of(model, graph)
    cut(model, graph, [0])
    per_image = 2 * (64 * 3 * 27 + 64 * 3 * 20 + 256 * 10) + (64 * 4 * 27 + 64 * 4 * 20 + 256 * 10)
    images = torch.randn(20, 3, 10, 10)
    for number in (7, 12):
        work = (number + 0.5) * per_image / 1e9
        report = LeastSquares(images=20, work=work)(before, model, graph, [(images, images)])
        assert report.images == number
