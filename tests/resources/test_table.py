"""One table of resources: every row fits the code that counts, and each list of resources is derived from it."""

import inspect

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.resources.counting import LayerResources, measure, savings_of
from pruning_lab.resources.table import BY_LAYER, COUNTED, MEASURED, RANKED, RESOURCES, TABLE, check_resource, spelled
from tests.networks.two_paths import traced


def test_every_resource_is_counted_or_measured() -> None:
    assert sorted(RESOURCES) == sorted((*COUNTED, *MEASURED))


@pytest.mark.parametrize("name", COUNTED)
def test_a_counted_resource_is_counted(name: str) -> None:
    _, graph = traced()
    assert measure(graph).counted(name)


@pytest.mark.parametrize("name", RANKED)
def test_of_a_resource_that_ranks_each_group_saves_something_or_nothing(name: str) -> None:
    _, graph = traced()
    saved = savings_of(graph, name)
    assert saved.shape == (len(graph),)
    assert int(saved.min()) >= 0
    assert int(saved.max()) > 0


@pytest.mark.parametrize("name", RESOURCES)
def test_what_stands_for_a_resource_in_ranking_ranks_by_itself(name: str) -> None:
    assert TABLE[name].ranked_by in RANKED


def test_layers_have_their_share_of_what_adds_up() -> None:
    assert set(BY_LAYER) <= set(inspect.signature(LayerResources).parameters)


def test_a_resource_is_spelled_for_people() -> None:
    assert spelled("flops") == "FLOPs"
    assert spelled("something else") == "something else"


def test_an_unknown_resource_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(LabError, match=r"stop\.flop is not a resource; did you mean stop\.flops\?"):
        check_resource("stop", "flop")
