"""Presets of `conf/importance` are what their descriptions say."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from pruning_lab import importance
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from tests.networks.scored import EXAMPLE, batches, build
from tests.paths import CONF

STEADIED = {
    "steady_taylor": importance.Taylor(),
    "ipad_steady": importance.Ipad(normalize="layer_mean", of="reads"),
    "downstream_steady": importance.Downstream(mix=0.0, last_layers="ones", active=True),
}


@pytest.mark.parametrize("option", STEADIED)
def test_a_steady_preset_is_what_its_description_says(option: str) -> None:
    """sqrt(method / its layer's mean x magnitude / its layer's mean), and over a cut 0.7 old + 0.3 new."""

    def by_hand(model: nn.Module, graph: ChannelGraph) -> Tensor:
        product = torch.ones(len(graph))
        for method in (STEADIED[option], importance.GroupMagnitude()):
            scores = method(model, graph, batches())
            for ids in graph.layers.values():
                product[ids] *= (scores[ids] / (scores[ids].mean() or 1.0)).sqrt()
        return product

    model = build("chain")  # where every group is one filter of one layer
    graph = ChannelGraph.trace(model, EXAMPLE)
    method = instantiate(OmegaConf.load(CONF / "importance" / f"{option}.yaml"))
    before = by_hand(model, graph)
    torch.testing.assert_close(method(model, graph, batches()), before)
    leaving = int(before.masked_fill(~graph.prunable, torch.inf).argmin())
    kept = torch.tensor([group for group in range(len(graph)) if group != leaving])
    cut(model, graph, [leaving])
    expected = 0.7 * before[kept] + 0.3 * by_hand(model, graph)
    torch.testing.assert_close(method(model, graph, batches()), expected)
