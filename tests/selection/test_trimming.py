"""What a step took beyond what was asked stays after all."""

from __future__ import annotations

import pytest
import torch

from pruning_lab.resources.counting import measure
from pruning_lab.selection import All, Groups, Selection
from pruning_lab.selection.blocks import Block, latency_blocks
from pruning_lab.selection.cut_plan import CutPlan
from pruning_lab.selection.floors import LayerFloors
from pruning_lab.selection.trimming import trimmed
from tests.networks.timed import predictor, wide_chain


def planned(blocks: list[Block]) -> CutPlan:
    """A plan that removes all groups of some blocks."""
    _, graph, _ = wide_chain((32, 32))
    plan = CutPlan(graph, measure(graph), None)
    for block in blocks:
        for group in block.groups:
            plan.add(plan.totals.without(group))
    return plan


FIRST, SECOND, THIRD = Block([0, 1, 2, 3], 0, (2, 4)), Block([32, 33, 34, 35], 1, (2, 4)), Block([4, 5], 0, (2,))


@pytest.mark.parametrize(
    ("needed", "left"),
    [
        (10, [0, 1, 2, 3, 4, 5, 32, 33, 34, 35]),
        (9, [0, 1, 2, 3, 4, 5, 32, 33, 34, 35]),
        (8, [0, 1, 2, 3, 32, 33, 34, 35]),
        (6, [0, 1, 2, 3, 32, 33]),
        (4, [0, 1, 2, 3]),
        (2, [0, 1]),
    ],
)
def test_the_dearest_blocks_stay_and_of_the_last_one_a_part_may_leave(needed: int, left: list[int]) -> None:
    blocks = [FIRST, SECOND, THIRD]
    plan = trimmed(planned(blocks), blocks, lambda plan: plan.count >= needed)
    assert plan.leaving().nonzero().flatten().tolist() == left


def test_of_one_part_the_later_block_stays_before_the_earlier() -> None:
    blocks = [FIRST, THIRD]
    plan = trimmed(planned(blocks), blocks, lambda plan: bool(plan.chosen[4]))
    assert plan.leaving().nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_what_is_left_is_counted_anew() -> None:
    _, graph, _ = wide_chain((32, 32))
    blocks = [FIRST, SECOND, THIRD]
    plan = trimmed(planned(blocks), blocks, lambda plan: plan.count >= 6)
    kept = graph.without(plan.leaving())
    assert plan.now["flops"] == pytest.approx(measure(kept).flops / measure(graph).flops)


def test_a_step_by_milliseconds_takes_no_block_that_it_does_not_need() -> None:
    model, graph, image = wide_chain((64, 64))
    latency, stop = predictor(model, graph, image), All(latency=0.7)
    scores = torch.rand(len(graph), generator=torch.Generator().manual_seed(1))
    selection = Selection(Groups(1000), {"flops": 0.0, "latency": 1.0}, share_of_layer=False)
    choice = selection(scores, graph, LayerFloors({}), stop, measure(graph), {"latency": 1.0}, latency)
    assert latency.seconds(graph, choice.groups) / latency.whole <= 0.7
    for block in latency_blocks(scores, graph, LayerFloors({}), latency):
        row = torch.tensor(block.groups)
        if bool(choice.groups[row].all()):
            fewer = choice.groups.clone()
            part = [one for one in latency_blocks(scores, graph, LayerFloors({}), latency) if one.part == block.part]
            fewer[[group for one in part[part.index(block) :] for group in one.groups]] = False
            assert latency.seconds(graph, fewer) / latency.whole > 0.7
