"""A weight that is not finite costs its own group the score, and no other group."""

import logging

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import WeightNorm, check_scores, score
from tests.importance.test_family import CASES, traced
from tests.networks.scored import batches


def break_filter(model: nn.Module, graph: ChannelGraph, value: float) -> tuple[str, int]:
    """Put a value into a filter's weights; its layer's name and its group."""
    layer = list(graph.layers)[1]
    with torch.no_grad():
        model.get_submodule(layer).weight[1, 0].fill_(value)
    return layer, int(graph.layers[layer][1])


@pytest.mark.parametrize("method", CASES)
def test_the_other_scores_stay_usable(method: str, caplog: pytest.LogCaptureFixture) -> None:
    model, graph = traced("chain")
    layer, broken = break_filter(model, graph, torch.nan)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        scores = score(CASES[method].make(), model, graph, batches())
    assert scores[broken] == torch.inf
    others = graph.prunable.clone()
    others[broken] = False
    assert not scores[others].isnan().any()
    assert f"filter 1 of {layer}" in caplog.text
    assert len([record for record in caplog.records if record.name.startswith("pruning_lab")]) == 1
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.nan_to_num(7.0), before[name].nan_to_num(7.0))


def test_scores_are_as_if_the_broken_weights_were_zero() -> None:
    model, graph = traced("chain")
    _, broken = break_filter(model, graph, 0.0)
    clean = score(WeightNorm(), model, graph, batches())
    break_filter(model, graph, torch.inf)
    scores = score(WeightNorm(), model, graph, batches())
    others = torch.arange(len(graph)) != broken
    assert torch.equal(scores[others], clean[others])


def test_a_broken_normalization_counts_for_its_filter() -> None:
    model, graph = traced("chain")
    names = (name for name, info in graph.tensors.items() if info.trainable and len(info.shape) == 1 and info.axes)
    name = next(names)
    with torch.no_grad():
        model.get_parameter(name)[3] = torch.nan
    assert score(WeightNorm(), model, graph, batches())[graph.tensors[name].axes[0][3]] == torch.inf


def test_where_no_group_has_a_score_the_first_layer_is_named() -> None:
    _, graph = traced("chain")
    with pytest.raises(LabError, match=r"not finite \(filter 0 of conv1 first, 14 of 14 groups\)"):
        check_scores(torch.full((len(graph),), torch.nan), graph, WeightNorm())


def test_minus_infinity_is_a_mistake_of_the_method() -> None:
    _, graph = traced("chain")
    scores = torch.zeros(len(graph))
    scores[graph.layers["conv2"][0]] = -torch.inf
    with pytest.raises(LabError, match="filter 0 of conv2"):
        check_scores(scores, graph, WeightNorm())


def masked() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    prune.random_unstructured(model[0], "weight", 0.25)
    return model, torch.randn(1, 3, 8, 8)


def test_a_masked_layer_is_scored_by_the_weight_that_is_left() -> None:
    model, image = masked()
    graph = ChannelGraph.trace(model, image)
    assert list(graph.layers) == ["0", "2"]
    with torch.no_grad():
        model[0].weight_orig.mul_(2)  # what the last forward pass left behind is stale now
    effective = (model[0].weight_orig * model[0].weight_mask).abs().mean((1, 2, 3))
    torch.testing.assert_close(score(WeightNorm(), model, graph, [])[graph.layers["0"]], effective.detach())
