import pytest
import torch

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import WeightNorm
from pruning_lab.selection import All, Floors, Selection, ShareOf
from pruning_lab.tasks.inspect.facts import inspect_model
from pruning_lab.tasks.inspect.milliseconds import latency_facts
from pruning_lab.tasks.inspect.tables import latency_table, sentences
from tests.networks.timed import layer_time, predictor, wide_chain


def test_each_layer_has_its_own_time_and_its_distance_from_a_step() -> None:
    model, graph, image = wide_chain((20, 32))
    facts = latency_facts(graph, predictor(model, graph, image))
    first, second, last = facts.layers
    assert second.ms == pytest.approx(layer_time(20, 32, 8), rel=0.02)
    assert sum(layer.share for layer in facts.layers) == pytest.approx(1, rel=0.02)
    assert [layer.above_step for layer in (first, second)] == [4, 0]
    assert not last.worth_cutting  # it gives the model's output
    assert second.worth_cutting


def test_an_inspection_tells_milliseconds_where_they_are_asked_for() -> None:
    model, _, image = wide_chain((64, 64))

    def timed(graph: ChannelGraph):
        return predictor(model, graph, image)

    parts = (Floors(by_module={"*": 0.1}), Selection(ShareOf("flops", 0.2)), All(latency=0.5), WeightNorm())
    facts = inspect_model(model, image, *parts, timed=timed)
    assert facts.latency is not None
    assert facts.budget.left["latency"] <= 0.5
    assert facts.budget.unmet == ()
    assert "ms on eager, cpu" in sentences(facts)[0]
    assert latency_table(facts.latency).row_count == 3
    assert inspect_model(model, torch.zeros_like(image), parts[0], parts[1], All(flops=0.5), parts[3]).latency is None
