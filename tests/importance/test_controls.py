"""The controls: random, uniform, and a random filter of the largest layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.importance import Function, Importance, LargestLayerRandom, Random, Uniform, WeightNorm
from tests.networks.scored import EXAMPLE, batches, build


def lowest(scores: Tensor, graph: ChannelGraph, count: int) -> list[int]:
    return [group for group in scores.argsort().tolist() if graph.prunable[group]][:count]


def widths_after(method: Importance, net: str, cuts: list[int], **sizes: int) -> dict[str, int]:
    """Widths after several steps, each of which scores anew and cuts that many groups."""
    model = build(net, **sizes)
    graph = ChannelGraph.trace(model, EXAMPLE)
    for count in cuts:
        cut(model, graph, lowest(method(model, graph, batches()), graph, count))
    return graph.widths


def test_random_keeps_a_filters_draw_while_the_network_shrinks() -> None:
    model = build("unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    before = Random(seed=3)(model, graph, [])
    gone = torch.zeros(len(graph), dtype=torch.bool)
    gone[[0, 5, 13]] = True
    cut(model, graph, gone)
    assert torch.equal(Random(seed=3)(model, graph, []), before[~gone])
    assert not torch.equal(Random(seed=4)(model, graph, []), before[~gone])


def test_random_gives_a_tied_group_the_draw_of_its_first_filter() -> None:
    model = build("residual")
    graph = ChannelGraph.trace(model, EXAMPLE)
    generator = torch.Generator().manual_seed(0)
    of_stem = torch.rand(4, generator=generator)
    assert Random()(model, graph, [])[graph.layers["stem"][:2]].tolist() == of_stem[:2].tolist()


@pytest.mark.parametrize("cuts", [[6], [2, 4], [1, 1, 1, 1, 1, 1]])
def test_uniform_takes_the_same_share_of_every_layer_in_however_many_steps(cuts: list[int]) -> None:
    widths = widths_after(Uniform(), "unet", [2 * count for count in cuts] + [0], width=4)
    shares = {layer: widths[layer] / full for layer, full in {"enter": 4, "down": 8, "rise": 4, "join": 4}.items()}
    assert max(shares.values()) - min(shares.values()) <= 1 / 4


def test_uniform_takes_a_layers_filters_in_the_order_it_was_given() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    order = WeightNorm()
    uniform, norms = Uniform(order)(model, graph, []), order(model, graph, [])
    for ids in graph.layers.values():
        assert torch.equal(uniform[ids].argsort(), norms[ids].argsort())


def test_largest_layer_random_levels_the_widths() -> None:
    widths = widths_after(LargestLayerRandom(), "unet", [1, 3, 3])
    assert widths["down"] < 8
    pruned = [widths[layer] for layer in ("enter", "down", "rise", "join")]
    assert max(pruned) - min(pruned) <= 1


def test_scores_of_shares_are_positive_so_that_they_can_be_divided_by_a_saving() -> None:
    model = build("residual")
    graph = ChannelGraph.trace(model, EXAMPLE)
    for method in (Uniform(), LargestLayerRandom()):
        assert bool((method(model, graph, []) > 0).all())


def test_a_path_that_leads_nowhere_is_named() -> None:
    for path in ("no_such_package.function", "torch.no_such_function", "function"):
        with pytest.raises(LabError, match=rf"importance\.path={path}"):
            Function(path)
    with pytest.raises(LabError, match="not callable"):
        Function("torch.pi")
