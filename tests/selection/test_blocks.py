"""Selection by milliseconds, on a machine whose times are known: layers are faster by blocks of 8 filters."""

import itertools
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.models import UNet
from pruning_lab.resources.counting import measure
from pruning_lab.selection import All, Floors, Groups, Selection, ShareOf
from pruning_lab.selection.blocks import latency_blocks
from pruning_lab.selection.floors import LayerFloors
from tests.networks.timed import predictor, wide_chain

NO_FLOORS = LayerFloors({})
BY_LATENCY = {"flops": 0.0, "latency": 1.0}


def scores_of(graph: ChannelGraph, seed: int = 0) -> Tensor:
    return torch.rand(len(graph), generator=torch.Generator().manual_seed(seed))


def test_groups_leave_a_layer_in_blocks_that_reach_the_next_step() -> None:
    model, graph, image = wide_chain((20, 32))
    blocks = latency_blocks(scores_of(graph), graph, NO_FLOORS, predictor(model, graph, image))
    left = graph.widths
    for block in blocks:
        groups = torch.tensor(block.groups)
        (layer,) = {name for name, row in graph.layers.items() if bool(torch.isin(groups, row).all())}
        left[layer] -= len(groups)
        assert left[layer] % 8 == 0


def test_of_a_layer_the_lowest_scores_leave_first() -> None:
    model, graph, image = wide_chain((16, 32))
    scores = scores_of(graph)
    blocks = latency_blocks(scores, graph, NO_FLOORS, predictor(model, graph, image))
    row = graph.layers["1"]
    of_layer = [group for block in blocks for group in block.groups if group in row.tolist()]
    assert of_layer == row[scores[row].argsort()][: len(of_layer)].tolist()


def test_the_blocks_are_nearly_the_cheapest_that_save_as_much() -> None:
    """Against every combination of widths: what is lost above the best is less than the last block."""
    model, graph, image = wide_chain((24, 32))
    latency, scores = predictor(model, graph, image), scores_of(graph)
    ordered = {name: row[scores[row].argsort()] for name, row in graph.layers.items() if name != "2"}
    options = []
    for counts in itertools.product(range(0, 24, 8), range(0, 32, 8)):
        removed = graph.as_mask(torch.cat([row[:count] for row, count in zip(ordered.values(), counts, strict=True)]))
        options.append((latency.whole - latency.seconds(graph, removed), float(scores[removed].sum())))
    taken = torch.zeros(len(graph), dtype=torch.bool)
    for block in latency_blocks(scores, graph, NO_FLOORS, latency)[:3]:
        taken[block.groups] = True
        saved, lost = latency.whole - latency.seconds(graph, taken), float(scores[taken].sum())
        best = min(cost for saving, cost in options if saving >= saved - 1e-9)
        assert best <= lost + 1e-6
        assert lost <= best + float(scores[block.groups].sum()) + 1e-6


def test_floors_end_the_blocks() -> None:
    model, graph, image = wide_chain((16, 32))
    floors = Floors({"0": 0.9, "1": 0.5}, {}).resolve(model, graph, measure(graph))
    blocks = latency_blocks(scores_of(graph), graph, floors, predictor(model, graph, image))
    gone = [group for block in blocks for group in block.groups]
    widths = graph.without(graph.as_mask(gone)).widths
    assert widths["1"] >= 16
    assert widths["0"] >= 15


def test_a_step_by_milliseconds_leaves_widths_that_are_fast() -> None:
    model, graph, image = wide_chain((20, 36))
    selection = Selection(ShareOf("latency", 0.2), BY_LATENCY)
    choice = selection(
        scores_of(graph),
        graph,
        NO_FLOORS,
        All(latency=0.1),
        measure(graph),
        {"latency": 1.0},
        predictor(model, graph, image),
    )
    left = graph.without(choice.groups).widths
    assert any(left[name] < graph.widths[name] for name in left)
    assert all(left[name] % 8 == 0 or left[name] == graph.widths[name] for name in left)
    assert choice.preference["latency"] == 1


def test_where_no_block_saves_time_a_few_groups_leave_by_score() -> None:
    model, graph, image = wide_chain((6, 5))
    scores, latency = scores_of(graph), predictor(model, graph, image)
    assert latency_blocks(scores, graph, NO_FLOORS, latency) == []
    choice = Selection(Groups(2), BY_LATENCY)(
        scores, graph, NO_FLOORS, All(latency=0.1), measure(graph), {"latency": 1.0}, latency
    )
    assert int(choice.groups.sum()) == 2


def test_a_latency_budget_is_met_by_prediction_within_a_step() -> None:
    model, graph, image = wide_chain((64, 64))
    latency = predictor(model, graph, image)
    choice = Selection(Groups(1000), BY_LATENCY)(
        scores_of(graph), graph, NO_FLOORS, All(latency=0.7), measure(graph), {"latency": 1.0}, latency
    )
    left = latency.seconds(graph, choice.groups) / latency.whole
    assert 0.5 < left <= 0.7


def test_what_was_measured_is_what_a_prediction_starts_from() -> None:
    """The network is 1.2 times slower than predicted: more has to leave than a prediction alone would say."""
    model, graph, image = wide_chain((64, 64))
    latency = predictor(model, graph, image)
    left = []
    for measured in (1.0, 1.2):
        choice = Selection(Groups(1000), BY_LATENCY)(
            scores_of(graph), graph, NO_FLOORS, All(latency=0.7), measure(graph), {"latency": measured}, latency
        )
        left.append(latency.seconds(graph, choice.groups) / latency.whole)
    assert left[1] <= 0.7 / 1.2 < left[0]


def test_a_budget_in_milliseconds_is_one_on_latency() -> None:
    assert All(latency_ms=5.0)({"latency_ms": 5.1}) == {"latency"}
    assert All(latency_ms=5.0)({"latency_ms": 5.0}) == set()
    with pytest.raises(LabError, match=r"stop\.latency_ms=0"):
        All(latency_ms=0.0)


def test_auto_takes_the_multiple_from_the_model() -> None:
    model, graph, image = wide_chain((32, 64))
    selection = Selection(Groups(20), round_to="auto")
    arguments = (scores_of(graph), graph, NO_FLOORS, All(flops=0.01), measure(graph))
    widths = graph.without(selection(*arguments, latency=predictor(model, graph, image, step=16)).groups).widths
    assert [widths[name] % 16 for name in ("0", "1")] == [0, 0]
    assert sum(widths.values()) < sum(graph.widths.values())
    assert int(selection(*arguments).groups.sum()) == 20  # nothing is known: any width will do


def test_other_savings_count_beside_latency() -> None:
    model, graph, image = wide_chain((32, 32))
    latency, scores = predictor(model, graph, image), scores_of(graph)
    last = graph.layers["1"].numpy()
    besides = np.zeros(len(graph))
    besides[last] = 10.0
    first = latency_blocks(scores, graph, NO_FLOORS, latency, besides=besides)[0]
    assert set(first.groups) <= set(last.tolist())


def test_it_stays_true_after_a_cut() -> None:
    model, graph, image = wide_chain((32, 32))
    latency = predictor(model, graph, image)
    cut(model, graph, list(range(5)))
    blocks = latency_blocks(scores_of(graph), graph, NO_FLOORS, latency)
    widths = graph.without(graph.as_mask(blocks[0].groups)).widths
    assert any(widths[name] % 8 == 0 and widths[name] < graph.widths[name] for name in widths)


def test_5000_groups_take_little_time() -> None:
    model = UNet(3, 2, width=64, depth=4).eval()
    image = torch.zeros(1, 3, 16, 16)
    graph = ChannelGraph.trace(model, image)
    latency, scores = predictor(model, graph, image), scores_of(graph)
    latency_blocks(scores, graph, NO_FLOORS, latency)
    took = []
    for _ in range(3):
        start = time.thread_time()
        latency_blocks(scores, graph, NO_FLOORS, latency)
        took.append(time.thread_time() - start)
    assert len(graph) > 4000
    assert min(took) < 0.5  # some 20 ms where nothing else runs
