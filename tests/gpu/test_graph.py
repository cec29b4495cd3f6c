"""A graph that is read on a GPU is the graph that is read on a CPU: same groups, same proof, same frozen layers."""

from __future__ import annotations

import copy

import pytest
import torch

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.proof.verification import verify
from pruning_lab.models import UNet
from pruning_lab.resources.latency import measure_in_turns
from pruning_lab.training.compute import ComputeSettings
from tests.graph.proof.test_trial_cuts import IMAGE, Checks, Splits
from tests.networks.constructs import make

pytestmark = pytest.mark.gpu

CONSTRUCTS = ("plain", "residual", "dense connections", "flatten to linear", "channel shuffle by view", "chunk")
FROZEN = {"checks": Checks, "splits": Splits}


def same_graph(here: ChannelGraph, there: ChannelGraph) -> None:
    assert len(there) == len(here)
    assert torch.equal(there.prunable, here.prunable)
    assert there.layers.keys() == here.layers.keys()
    assert all(torch.equal(ids, there.layers[layer]) for layer, ids in here.layers.items())
    assert there.frozen.keys() == here.frozen.keys()


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("name", FROZEN)
def test_trial_cuts_freeze_the_same(name: str, tf32: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    torch.manual_seed(0)
    model = FROZEN[name]().eval()
    here = ChannelGraph.trace(model, IMAGE)
    same_graph(here, ChannelGraph.trace(copy.deepcopy(model).cuda(), IMAGE.cuda()))


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_constructs_have_the_same_groups_and_their_cuts_are_exact(name: str) -> None:
    torch.manual_seed(0)
    model, inputs = make(name)
    here = ChannelGraph.trace(model, inputs)
    model, placed = model.cuda(), tuple(item.cuda() for item in inputs)
    there = ChannelGraph.trace(model, placed)
    same_graph(here, there)
    first = [int(ids[there.prunable[ids]][0]) for ids in there.layers.values() if there.prunable[ids].sum() > 1]
    if first:
        assert verify(model, there, sorted(set(first))[:1], placed) < 1e-4


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_latency_is_that_of_the_gpu(precision: str) -> None:
    settings = ComputeSettings("cuda", precision, channels_last=True)
    small, large = (settings.place(UNet(width=width, depth=2)) for width in (8, 256))
    example = torch.zeros(4, 3, 128, 128, device="cuda").to(memory_format=torch.channels_last)
    fast, slow = measure_in_turns([small, large], example, forward=settings.logits)
    assert fast.device.startswith("cuda")
    assert 0 < fast.low_s <= fast.median_s <= fast.high_s
    assert slow.median_s > fast.median_s
