"""Floors: by module first, then by type, else not cut."""

import pytest
import torch
from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.counting import measure
from pruning_lab.selection.floors import Floors
from tests.networks.two_paths import traced


def resolve(**entries: dict) -> dict[tuple[str, str], float]:
    model, graph = traced()
    return dict(Floors(**entries).resolve(model, graph, measure(graph)).least)


def test_an_exact_name_stands_above_a_pattern_and_a_pattern_above_the_type() -> None:
    floors = Floors(by_module={"up*": 0.5, "up.conv": 0.25}, by_type={"Conv2d": 0.1})
    assert floors.lookup("up.conv", "Conv2d") == {"filters": 0.25}
    assert floors.lookup("up.other", "Conv2d") == {"filters": 0.5}
    assert floors.lookup("down", "Conv2d") == {"filters": 0.1}


def test_the_first_pattern_that_fits_counts() -> None:
    floors = Floors(by_module={"up*": 0.5, "*": 0.1})
    assert floors.lookup("up", "Conv2d") == {"filters": 0.5}
    assert floors.lookup("down", "Conv2d") == {"filters": 0.1}


def test_a_layer_without_an_entry_is_not_cut() -> None:
    assert resolve(by_type={"Conv2d": 0.5})["filters", "up"] == 5


def test_a_floor_can_be_on_flops_and_weights_as_the_original_had_them() -> None:
    _, graph = traced()
    original = measure(graph)
    least = resolve(by_module={"down": {"flops": 0.5, "weights": 0.25}}, by_type={"Conv2d": 0.1})
    assert least["flops", "down"] == 0.5 * original.layers["down"].flops
    assert least["weights", "down"] == 0.25 * original.layers["down"].weights
    assert least["filters", "down"] == 1


def test_fractions_of_filters_become_counts() -> None:
    assert resolve(by_type={"Conv2d": 0.25})["filters", "first"] == 2


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"by_module": {"frist": 0.5}}, "did you mean first"),
        ({"by_type": {"Conv2d": 20}}, "0.2"),
        ({"by_module": {"first": {"filter": 0.5}}}, "filters, flops, weights"),
    ],
)
def test_mistakes_name_the_entry(entries: dict, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        resolve(**entries)
    assert "\n" not in str(caught.value)


def test_a_parameter_that_is_no_module_has_the_type_parameter() -> None:
    assert Floors(by_type={"Parameter": 0.5}).lookup("free", "Parameter") == {"filters": 0.5}


class PaddedConv2d(nn.Conv2d):
    """A convolution of a library's own, as timm's Conv2dSame."""


def resolved(layer: nn.Module, **by_type: float) -> float:
    """The filters that must stay of a layer of 8."""
    model = nn.Sequential(layer, nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    return Floors(by_type=by_type).resolve(model, graph, measure(graph)).least["filters", "0"]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 8, 3, padding=1),
        PaddedConv2d(3, 8, 3, padding=1),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3, padding=1)),
        nn.utils.parametrizations.spectral_norm(PaddedConv2d(3, 8, 3, padding=1)),
        nn.utils.prune.random_unstructured(nn.Conv2d(3, 8, 3, padding=1), "weight", 0.2),
    ],
    ids=["itself", "subclass", "parametrized", "parametrized subclass", "masked"],
)
def test_a_class_that_inherits_has_its_parents_floor(layer: nn.Module) -> None:
    assert resolved(layer, Conv2d=0.25) == 2


def test_the_nearest_class_counts() -> None:
    assert resolved(PaddedConv2d(3, 8, 1), Conv2d=0.25, PaddedConv2d=0.5) == 4
    assert resolved(nn.Conv2d(3, 8, 1), PaddedConv2d=0.5) == 8
    assert resolved(PaddedConv2d(3, 8, 1), ConvTranspose2d=0.25) == 8
