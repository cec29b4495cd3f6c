"""Compensation on a GPU gives what it gives on the CPU, and leaves all where it was."""

from __future__ import annotations

import copy

import pytest
import torch

from pruning_lab.compensation import Before, LeastSquares, Mean, Norms
from pruning_lab.importance import Downstream, Ipad, Reconstruction
from pruning_lab.surgery import cut
from tests.networks.combined import NETS, combined


@pytest.mark.gpu
@pytest.mark.usefixtures("full_float32")
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("method", [Mean(), LeastSquares(images=1000)], ids=["mean", "least_squares"])
def test_the_repair_is_that_of_the_cpu(name: str, method: Mean | LeastSquares) -> None:
    model, graph, image, groups = combined(name)
    found = []
    for device in ("cpu", "cuda"):
        small, left = copy.deepcopy(model).to(device), copy.copy(graph)
        before = Before.of(small, left)
        cut(small, left, groups)
        report = method(before, small, left, [(image, image)])
        assert next(small.parameters()).device.type == device
        with torch.no_grad():
            found.append((report.compensated, small.eval()(image.to(device)).cpu()))
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-3)
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-2, abs=1e-6)


@pytest.mark.gpu
@pytest.mark.usefixtures("full_float32")
@pytest.mark.parametrize(
    "method",
    [Reconstruction(), Ipad(normalize="layer_mean", of="reads"), Downstream(mix=0.0, last_layers="ones", active=True)],
    ids=["reconstruction", "ipad", "downstream"],
)
def test_scores_are_those_of_the_cpu(method: Reconstruction | Ipad | Downstream) -> None:
    model, graph, image, _ = combined("sum and concatenation")
    here = method(model, graph, [(image, image)])
    there = method(copy.deepcopy(model).cuda(), graph, [(image, image)])
    assert there.device.type == "cpu"
    torch.testing.assert_close(here, there, rtol=1e-2, atol=1e-4)


@pytest.mark.gpu
def test_norms_are_measured_on_the_gpu() -> None:
    model, graph, image, groups = combined("without bias, before a norm")
    model.cuda()
    cut(model, graph, groups)
    Norms()(None, model, graph, [(image, image)])
    assert model.behind.running_mean.device.type == "cuda"
