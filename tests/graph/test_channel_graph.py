"""The channel graph's public face: tracing changes nothing, and the graph tells what is where, also after cuts."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph, TraceError
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.resources.counting import measure
from tests.graph.helpers import draw
from tests.networks.constructs import make
from tests.networks.parts import Apply, conv, slope


@pytest.fixture
def traced() -> tuple[nn.Module, ChannelGraph, tuple[Tensor, ...]]:
    model, inputs = make("dense connections")
    return model, ChannelGraph.trace(model, inputs), inputs


@pytest.mark.parametrize(
    "name", ["plain", "weight norm, old style", "spectral norm, old style", "head that only training runs"]
)
def test_tracing_leaves_the_model_as_it_was(name: str) -> None:
    model, inputs = make(name)
    model.train()
    next(model.children()).eval()
    loss = sum(item.sum() for item in [*inputs])
    modes = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    held = {key: id(value) for key, value in model.named_parameters()}
    plain = [
        {key: item for key, item in vars(module).items() if isinstance(item, Tensor)} for module in model.modules()
    ]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    random = torch.get_rng_state()
    ChannelGraph.trace(model, inputs)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert {key: id(value) for key, value in model.named_parameters()} == held
    for module, before in zip(model.modules(), plain, strict=True):
        assert all(vars(module)[key] is item for key, item in before.items())
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters())
    assert torch.isfinite(loss)


def test_every_filter_has_one_group_and_ids_are_dense(traced: tuple) -> None:
    _, graph, _ = traced
    ids = torch.cat(list(graph.layers.values()))
    assert sorted(ids.unique().tolist()) == list(range(len(graph)))
    assert graph.prunable.shape == (len(graph),)
    assert graph.prunable.dtype == torch.bool
    assert all(row.dtype == torch.int64 for row in graph.layers.values())


def test_the_output_layer_is_frozen_with_its_reason(traced: tuple) -> None:
    _, graph, _ = traced
    assert graph.frozen == {"last": "feeds the model's output"}
    assert not graph.prunable[graph.layers["last"]].any()


def test_consumers_tell_each_place_that_reads_a_channel(traced: tuple) -> None:
    _, graph, _ = traced
    first_of_one = int(graph.layers["one"][0])
    assert graph.group(first_of_one).filters == [("one", 0)]
    assert graph.group(first_of_one).consumers == [("two", 3), ("three", 5), ("last", 3)]


def test_group_ids_outside_the_graph_are_refused(traced: tuple) -> None:
    _, graph, _ = traced
    with pytest.raises(IndexError, match="of 17"):
        graph.group(17)
    with pytest.raises(ValueError, match=r"0\.\.16"):
        graph.as_mask([17])
    with pytest.raises(ValueError, match="17 groups"):
        graph.as_mask(torch.zeros(3, dtype=torch.bool))


def test_original_indices_survive_several_cuts(traced: tuple) -> None:
    model, graph, _ = traced
    cut(model, graph, [int(graph.layers["two"][1])])
    cut(model, graph, [int(graph.layers["two"][1]), int(graph.layers["one"][0])])
    assert graph.original["two"].tolist() == [0, 3, 4]
    assert graph.original["one"].tolist() == [1, 2, 3]
    assert graph.widths == {"one": 3, "two": 3, "three": 6, "last": 2}
    assert graph.original_widths == {"one": 4, "two": 5, "three": 6, "last": 2}


def test_sequential_cuts_equal_one_cut(traced: tuple) -> None:
    model, graph, _ = traced
    at_once, graph_at_once = copy.deepcopy(model), copy.copy(graph)
    cut(at_once, graph_at_once, [1, 2, 6, 9])
    cut(model, graph, [2, 9])
    cut(model, graph, [1, 5])  # the old 6: one group before it has left
    for (name, one), (_, other) in zip(model.named_parameters(), at_once.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    assert {name: row.tolist() for name, row in graph.layers.items()} == {
        name: row.tolist() for name, row in graph_at_once.layers.items()
    }
    assert all(torch.equal(graph.original[name], row) for name, row in graph_at_once.original.items())


def test_a_cut_graph_equals_a_fresh_trace(traced: tuple) -> None:
    model, graph, inputs = traced
    cut(model, graph, draw(graph, 1))
    fresh = ChannelGraph.trace(model, inputs)
    assert len(fresh) == len(graph)
    assert all(torch.equal(row, graph.layers[name]) for name, row in fresh.layers.items())
    assert {name: info.shape for name, info in fresh.tensors.items()} == {
        name: info.shape for name, info in graph.tensors.items()
    }
    assert [group.consumers for group in map(fresh.group, range(len(fresh)))] == [
        group.consumers for group in map(graph.group, range(len(graph)))
    ]


def test_a_copy_of_a_graph_does_not_follow_the_cut(traced: tuple) -> None:
    model, graph, _ = traced
    before = copy.copy(graph)
    cut(model, graph, [0])
    assert len(before) == 17
    assert len(graph) == 16


def test_a_deep_copy_is_cut_on_its_own(traced: tuple) -> None:
    model, graph, _ = traced
    cut(model, graph, [0])
    other_model, other = copy.deepcopy((model, graph))
    cut(other_model, other, [1, 2])
    cut(model, graph, [1, 2])
    assert {name: row.tolist() for name, row in other.layers.items()} == {
        name: row.tolist() for name, row in graph.layers.items()
    }
    assert measure(other) == measure(graph)


def test_what_was_read_before_a_cut_is_read_anew_after_it(traced: tuple) -> None:
    model, graph, inputs = traced
    assert measure(graph) == measure(ChannelGraph.trace(model, inputs))
    cut(model, graph, draw(graph, 2))
    assert measure(graph) == measure(ChannelGraph.trace(model, inputs))


def test_layers_that_nothing_reads_are_unused() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        m.dead_end(y)
        return m.last(y)

    model = Apply(forward, first=conv(3, 4), dead_end=conv(4, 5), never=conv(4, 6), last=conv(4, 2))
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    assert sorted(graph.unused) == ["dead_end", "never"]
    assert graph.frozen["never"] == "never run"
    cut(model, graph, [0, 1])
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 2, 8, 8)


def test_layers_that_only_training_runs_stay_whole_and_keep_running() -> None:
    model, inputs = make("head that only training runs")
    graph = ChannelGraph.trace(model, inputs)
    assert graph.frozen["auxiliary"] == "runs only in training"
    assert graph.unused == []
    cut(model, graph, draw(graph, 0))
    assert model.auxiliary.out_channels == 4
    out, auxiliary = model.train()(*inputs)
    assert out.shape == auxiliary.shape


def test_costs_do_not_count_what_only_training_runs() -> None:
    model, inputs = make("head that only training runs")
    graph = ChannelGraph.trace(model, inputs)
    assert {term.layer for term in graph.costs} == {"first", "second", "last"}


class Slopes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(slope(image))


@pytest.mark.parametrize(
    ("model", "example", "words"),
    [
        (Slopes(), torch.zeros(1, 3, 4, 4), ["Slopes", "connections"]),
        (conv(3, 3), torch.zeros(1, 2, 4, 4), ["Conv2d", "2 channels"]),
        (conv(3, 3), [1, 2], ["example_input", "torch.zeros"]),
    ],
)
def test_what_cannot_be_traced_is_one_line_with_the_mend(model: nn.Module, example: object, words: list[str]) -> None:
    with pytest.raises(TraceError) as caught:
        ChannelGraph.trace(model, example)
    assert isinstance(caught.value, LabError)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_training_that_branches_on_values_is_read_as_it_went() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        return m.head(y) if m.training and y.sum() < 1e9 else m.last(y)

    model = Apply(forward, first=conv(3, 4), head=conv(4, 2), last=conv(4, 2)).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    assert graph.frozen["head"] == "feeds the model's output"
    assert graph.unused == []
    cut(model, graph, [0, 2])
    assert model.train()(torch.zeros(1, 3, 8, 8)).shape == (1, 2, 8, 8)


def test_a_head_that_only_training_returns_is_used() -> None:
    """It runs in both modes; were it called unused, dropping it would change what training gives."""

    def forward(m: nn.Module, x: Tensor) -> object:
        y = m.first(x)
        outputs = [m.last(y), m.head(torch.relu(m.neck(y)))]
        return outputs if m.training else outputs[0]

    model = Apply(forward, first=conv(3, 4), neck=conv(4, 5), head=conv(5, 2), last=conv(4, 2)).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    assert graph.unused == []
    assert graph.frozen["neck"] == "its result is used only in training"
    assert graph.frozen["head"] == "feeds the model's output"
    cut(model, graph, [0, 2])
    assert [tuple(item.shape) for item in model.train()(torch.zeros(1, 3, 8, 8))] == [(1, 2, 8, 8)] * 2
