"""Every method scores on a GPU as on a CPU, and what is looked at batch by batch is not waited for batch by batch."""

from __future__ import annotations

import copy

import pytest
import torch

from pruning_lab import importance
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import check_scores
from pruning_lab.models import UNet
from tests.gpu.conftest import waits
from tests.importance import test_family as family
from tests.networks.scored import batches, build

pytestmark = pytest.mark.gpu


@family.table()
def test_scores_are_those_of_a_cpu(method: str, net: str, full_float32: None) -> None:
    model, graph = family.traced(net)
    here = family.CASES[method].make()(model, graph, batches())
    there = family.CASES[method].make()(model.cuda(), graph, batches())
    assert check_scores(there, graph, method).device.type == "cpu"
    assert all(parameter.is_cuda for parameter in model.parameters())
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-4 * float(here.abs().max()))


@pytest.mark.parametrize("method", family.CASES)
def test_images_may_be_there_already(method: str) -> None:
    model, graph = family.traced(family.CASES[method].nets[0])
    placed = [(image.cuda(), mask.cuda()) for image, mask in batches()]
    check_scores(family.CASES[method].make()(model.cuda(), graph, placed), graph, method)


@pytest.mark.parametrize(
    "method",
    [importance.Ipad(), importance.MeanActivation(), importance.Apoz(), importance.Taylor(), importance.Hessian()],
    ids=lambda method: type(method).__name__,
)
def test_more_images_are_no_more_waits(method: importance.Importance) -> None:
    model = build("unet")
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    model.cuda()
    few, many = ([(image.cuda(), mask.cuda()) for image, mask in batches(images)] for images in (4, 16))
    method(model, graph, few)
    assert waits(lambda: method(model, graph, many)) == waits(lambda: method(model, graph, few))


def test_ablation_replays_the_network_and_does_not_fall_back_to_brute_force() -> None:
    torch.manual_seed(0)
    model = UNet(width=4, depth=2).cuda().eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 32, 32, device="cuda"))
    data = [(torch.randn(2, 3, 32, 32, device="cuda"), torch.randint(2, (2, 32, 32), device="cuda"))]
    method = importance.Ablation()
    check_scores(method(model, graph, data), graph, method)
    assert method.last_report.brute_force is None
    assert method.last_report.saving > 1


def test_weights_of_a_model_in_bfloat16_are_scored() -> None:
    model = UNet(width=4, depth=2).cuda().to(torch.bfloat16).eval()
    graph = ChannelGraph.trace(copy.deepcopy(model).float(), torch.zeros(1, 3, 32, 32, device="cuda"))
    for method in (importance.WeightNorm(), importance.Lamp(), importance.Fpgm()):
        check_scores(method(model, graph, []), graph, method)
