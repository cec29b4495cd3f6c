"""Random filters down to given widths, in networks whose layers are tied."""

from pathlib import Path

import pytest
import torch

from pruning_lab.checkpoint import Builder, save
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.importance.controls.at_widths import RandomAtWidths
from pruning_lab.tasks.controls import random_at_widths
from tests.networks.scored import EXAMPLE, build


def by_steps(method: RandomAtWidths, net: str, count: int) -> ChannelGraph:
    """The graph when nothing may leave any more, after steps of so many groups."""
    model = build(net)
    graph = ChannelGraph.trace(model, EXAMPLE)
    while True:
        scores = method(model, graph, [])
        leaving = [group for group in scores.argsort().tolist() if graph.prunable[group] and scores[group] < torch.inf]
        if not leaving:
            return graph
        cut(model, graph, leaving[:count])


WIDTHS = {
    "chain": {"conv1": 2, "conv2": 7, "head": 3},
    "unet": {"enter": 4, "down": 3, "rise": 1, "join": 2, "head": 3},
    "residual": {"stem": 2, "expand": 3, "depthwise": 3, "project": 2, "grouped": 4, "head": 3},
}


@pytest.mark.parametrize("net", WIDTHS)
def test_every_layer_comes_down_to_its_width_and_no_further(net: str) -> None:
    assert by_steps(RandomAtWidths(WIDTHS[net]), net, count=3).widths == WIDTHS[net]


@pytest.mark.parametrize("net", WIDTHS)
def test_which_filters_leave_does_not_depend_on_the_steps(net: str) -> None:
    method = RandomAtWidths(WIDTHS[net], seed=5)
    slow, fast = (by_steps(method, net, count).original for count in (1, 100))
    assert all(torch.equal(slow[layer], fast[layer]) for layer in slow)


def test_another_seed_keeps_other_filters() -> None:
    kept = {tuple(by_steps(RandomAtWidths(WIDTHS["chain"], seed), "chain", 100).original["conv1"]) for seed in range(9)}
    assert len({tuple(map(int, filters)) for filters in kept}) > 1


def test_filters_leave_across_layers_in_a_random_order() -> None:
    model = build("unet", width=8)
    graph = ChannelGraph.trace(model, EXAMPLE)
    widths = {layer: count if layer == "head" else count // 2 for layer, count in graph.widths.items()}
    scores = RandomAtWidths(widths)(model, graph, [])
    layers = [graph.group(group).filters[0][0] for group in scores.argsort().tolist() if scores[group] < torch.inf]
    assert len(layers) == sum(graph.widths.values()) - sum(widths.values())
    assert layers != sorted(layers, key=list(graph.layers).index)


def test_widths_are_read_from_a_runs_folder(tmp_path: Path) -> None:
    model = build("residual")
    graph = ChannelGraph.trace(model, EXAMPLE)
    cut(model, graph, [int(graph.layers["stem"][1]), *graph.layers["expand"][[0, 2]].tolist()])
    save(tmp_path / "model", model, graph, Builder("tests.Residual"), prove=False)
    method = random_at_widths(str(tmp_path), seed=3)
    assert method == RandomAtWidths(graph.widths, seed=3)
    assert by_steps(method, "residual", 100).widths == graph.widths


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"conv3": 4}, "only the run has a layer conv3"),
        ({"conv1": 60}, "the run keeps 60 filters of conv1, this model has 6"),
        ({"head": 2}, "head can't come down to 2"),
    ],
)
def test_widths_of_another_model_are_told(change: dict[str, int], told: str) -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    with pytest.raises(LabError, match=told) as caught:
        RandomAtWidths(WIDTHS["chain"] | change)(model, graph, [])
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"architecture\.json does not exist"):
        random_at_widths(tmp_path)
    save(tmp_path / "model", build("chain"), None, Builder("tests.Chain"), prove=False)
    with pytest.raises(LabError, match=r"importance\.run: .*tells no widths"):
        random_at_widths(tmp_path)
