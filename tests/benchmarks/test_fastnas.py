"""The adapter of FastNAS says what its search has taken away, once for each budget."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.models import UNet
from pruning_lab.surgery import cut
from tests.benchmarks import fastnas

BATCHES = [(torch.randn(2, 3, 16, 16), torch.randint(3, (2, 16, 16)))]


def network() -> tuple[nn.Module, ChannelGraph]:
    torch.manual_seed(0)
    model = UNet(width=6, depth=2, classes=3).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_()
    return model, ChannelGraph.trace(model, BATCHES[0][0][:1])


def test_what_the_search_takes_away_leaves_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    model, graph = network()
    taken = graph.prunable.nonzero().squeeze(1)[::3]
    asked: list[float] = []

    def searched(found: nn.Module, batches: list[tuple[Tensor, Tensor]], fraction: float) -> nn.Module:
        asked.append(fraction)
        small, whole = copy_of(found), ChannelGraph.trace(found, BATCHES[0][0][:1])
        cut(small, whole, taken)
        return small

    monkeypatch.setattr(fastnas, "_searched", searched)
    scores = fastnas.FastNas()
    first = scores(model, graph, BATCHES, limits=[0.25, 0.5])
    assert (first == 0).nonzero().squeeze(1).tolist() == taken.tolist()
    assert asked == [0.5]

    cut(model, graph, taken[:4])  # a step takes a part of them; the rest still leaves, and nothing is searched
    assert int((scores(model, graph, BATCHES, limits=[0.25, 0.5]) == 0).sum()) == len(taken) - 4
    assert len(asked) == 1


def test_a_network_below_all_budgets_is_refused() -> None:
    model, graph = network()
    with pytest.raises(LabError, match="below all of its budgets"):
        fastnas.FastNas()(model, graph, BATCHES, limits=[1.0])


@pytest.mark.slow
def test_the_search_itself_takes_a_quarter_of_the_flops() -> None:
    pytest.importorskip("modelopt.torch.prune", reason="FastNAS is an extra: pip install 'pruning_lab[fastnas]'")
    model, graph = network()
    leaving = fastnas.FastNas()(model, graph, BATCHES, limits=[0.75]) == 0
    assert leaving.any()
    assert not leaving[~graph.prunable].any()
