"""Presets of `conf/importance` are what their descriptions say."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.importance import Downstream, GroupMagnitude, Ipad, Taylor
from tests.networks.scored import EXAMPLE, batches, build
from tests.paths import CONF


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("ipad", Ipad(normalize="layer_mean", of="reads", around="own", weights="readers", ranked=True)),
        ("ipad_paper", Ipad()),
        ("ipad_global", Ipad(normalize="global_sum")),
        ("downstream", Downstream(Ipad(), mix=0.0, last_layers="ones", active=True, ranked=True)),
        ("downstream_paper", Downstream(Ipad())),
    ],
)
def test_an_option_is_the_form_that_its_description_says(option: str, expected: Ipad | Downstream) -> None:
    assert instantiate(OmegaConf.load(CONF / "importance" / f"{option}.yaml")) == expected


def test_a_steady_preset_is_what_its_description_says() -> None:
    """sqrt(Taylor / its layer's mean x magnitude / its layer's mean), and over a cut 0.7 old + 0.3 new."""

    def by_hand(model: nn.Module, graph: ChannelGraph) -> Tensor:
        product = torch.ones(len(graph))
        for method in (Taylor(), GroupMagnitude()):
            scores = method(model, graph, batches())
            for ids in graph.layers.values():
                product[ids] *= (scores[ids] / (scores[ids].mean() or 1.0)).sqrt()
        return product

    model = build("chain")  # where every group is one filter of one layer
    graph = ChannelGraph.trace(model, EXAMPLE)
    method = instantiate(OmegaConf.load(CONF / "importance" / "steady_taylor.yaml"))
    before = by_hand(model, graph)
    torch.testing.assert_close(method(model, graph, batches()), before)
    leaving = int(before.masked_fill(~graph.prunable, torch.inf).argmin())
    kept = torch.tensor([group for group in range(len(graph)) if group != leaving])
    cut(model, graph, [leaving])
    expected = 0.7 * before[kept] + 0.3 * by_hand(model, graph)
    torch.testing.assert_close(method(model, graph, batches()), expected)
