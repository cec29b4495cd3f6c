"""A section of a model stands for the whole only where nothing but tensors goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.build import read_graph
from pruning_lab.graph.proof.sections import WHOLE, Section, Sections, within
from tests.networks.parts import Apply, conv

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def scaled(features: Tensor, half: int) -> Tensor:
    """No operator shows that the number is one of channels."""
    return features / half


class Returns(nn.Module):
    def forward(self, features: Tensor) -> tuple[Tensor, int]:
        return features * 1, features.shape[1] // 2


class Keeps(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        self.half = features.shape[1] // 2
        return features * 1


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, features: Tensor) -> Tensor:
        self.seen.append(features.shape[1] // 2)
        return features * 1


class Takes(nn.Module):
    def forward(self, features: Tensor, half: int) -> Tensor:
        return scaled(features, half)


class TakesShape(nn.Module):
    def forward(self, features: Tensor, shape: torch.Size) -> Tensor:
        return scaled(features, shape[1] // 2)


class Knows(nn.Module):
    """A module that was told of another one, which is no section of it."""

    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.others = [other]

    def forward(self, features: Tensor) -> Tensor:
        return scaled(features, self.others[0].weight.shape[0] // 2)


class Inside(nn.Module):
    """The fault and what it is made of lie in one module."""

    def forward(self, features: Tensor) -> Tensor:
        return scaled(features, features.shape[1] // 2)


def network(middle: nn.Module, forward: Callable[..., object]) -> nn.Module:
    return Apply(forward, first=conv(3, 8), middle=middle, last=conv(8, 2)).eval()


def returning(model: nn.Module, image: Tensor) -> Tensor:
    features, half = model.middle(model.first(image))
    return model.last(scaled(features, half))


def keeping(model: nn.Module, image: Tensor) -> Tensor:
    features = model.middle(model.first(image))
    return model.last(scaled(features, model.middle.half))


def listing(model: nn.Module, image: Tensor) -> Tensor:
    features = model.middle(model.first(image))
    return model.last(scaled(features, model.middle.seen[-1]))


def giving(model: nn.Module, image: Tensor) -> Tensor:
    features = model.first(image)
    return model.last(model.middle(features, features.shape[1] // 2))


def giving_shape(model: nn.Module, image: Tensor) -> Tensor:
    features = model.first(image)
    return model.last(model.middle(features, features.shape))


def plainly(model: nn.Module, image: Tensor) -> Tensor:
    return model.last(model.middle(model.first(image)))


def knowing() -> nn.Module:
    first = conv(3, 8)
    return Apply(plainly, first=first, middle=Knows(first), last=conv(8, 2)).eval()


CROSSING = {
    "returned": lambda: network(Returns(), returning),
    "kept": lambda: network(Keeps(), keeping),
    "listed": lambda: network(Lists(), listing),
    "given": lambda: network(Takes(), giving),
    "given as a shape": lambda: network(TakesShape(), giving_shape),
    "asked of another module": knowing,
}


@pytest.mark.parametrize("name", CROSSING)
def test_a_number_that_leaves_a_module_is_tried_where_it_is_used(name: str) -> None:
    graph = ChannelGraph.trace(CROSSING[name](), IMAGE)
    assert not graph.prunable[graph.layers["first"]].any()
    assert "number of channels" in graph.frozen["first"]


@pytest.mark.parametrize("name", sorted(set(CROSSING) - {"kept", "listed"}))
def test_such_a_module_is_no_section(name: str) -> None:
    _, reading = read_graph(CROSSING[name](), (IMAGE,))
    assert Sections(reading.tape).around("middle").is_whole


def test_a_module_between_tensors_is_a_section() -> None:
    _, reading = read_graph(network(Inside(), plainly), (IMAGE,))
    assert Sections(reading.tape).around("middle").path == "middle"


def test_a_section_that_failed_is_replaced_by_what_holds_it() -> None:
    _, reading = read_graph(nn.Sequential(conv(3, 4), nn.Sequential(nn.ReLU(), conv(4, 2))), (IMAGE,))
    sections = Sections(reading.tape)
    section = sections.around("1.0")
    assert section.path == "1.0"
    assert sections.beyond(section).path == "1"
    assert sections.around("1.0").path == "1"
    assert sections.beyond(sections.around("1.0")).is_whole


def test_indices_are_not_drawn() -> None:
    """Other whole numbers would point at other rows, or at none."""

    class Gathers(nn.Module):
        def forward(self, features: Tensor, places: Tensor) -> Tensor:
            return features.index_select(2, places)

    model = Apply(
        lambda m, x: m.last(m.middle(m.first(x), torch.arange(4))), first=conv(3, 4), middle=Gathers(), last=conv(4, 2)
    )
    _, reading = read_graph(model, (IMAGE,))
    assert Sections(reading.tape).around("middle").is_whole


def test_sections_are_joined_where_that_is_less_work() -> None:
    blocks = [nn.Sequential(conv(8, 8), nn.ReLU(), conv(8, 8)) for _ in range(3)]
    _, reading = read_graph(nn.Sequential(conv(3, 8), nn.Sequential(*blocks), conv(8, 2)), (IMAGE,))
    sections = Sections(reading.tape)
    few = sections.few(["1.0", "1.1", "1.2"])
    assert {section.path for section in few.values()} == {"1"}
    assert set(sections.few(["1.0.1"])) == {"1.0.1"}
    assert {section.path for section in sections.few(["1.0", "1.0.2"]).values()} == {"1.0"}


def test_the_whole_is_not_run_for_what_a_section_holds() -> None:
    _, reading = read_graph(nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 2)), (IMAGE,))
    few = Sections(reading.tape).few([WHOLE, "1"])
    assert few[WHOLE].is_whole
    assert few["1"].path == "1"


def test_a_graph_within_a_section_has_its_tensors_and_the_layers_of_its_groups() -> None:
    model = nn.Sequential(conv(3, 4), nn.Sequential(nn.BatchNorm2d(4), conv(4, 5)), conv(5, 2)).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    small = within(graph, Section("1"), graph.layers["0"])
    assert set(small.tensors) == {name for name, _ in model.state_dict().items() if name.startswith("1.")}
    assert set(small.layers) == {"0"}
    assert len(small) == len(graph)


def test_a_section_keeps_the_names_of_the_model() -> None:
    model = nn.Sequential(conv(3, 4), nn.Sequential(conv(4, 5), nn.ReLU()))
    alone = Section("1").of(model)
    assert set(alone.state_dict()) == {"1.0.weight", "1.0.bias"}
    torch.testing.assert_close(alone(model[0](IMAGE)), model(IMAGE))
    assert {id(module) for module in Section("1").outside(model)} == {id(model), id(model[0])}


class Merges(nn.Module):
    """Insists on one tensor in two places, and on tensors in a dictionary; holds its number of channels."""

    def forward(self, one: Tensor, again: Tensor, *, more: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        if one is not again or more["of"][0] is not one:
            raise ValueError("the same, please")
        return {"sum": (one + again + more["of"][0]).view(len(one), 8, -1)}


def test_a_section_is_given_tensors_as_the_model_gives_them() -> None:
    def forward(model: nn.Module, image: Tensor) -> Tensor:
        features = model.first(image)
        merged = model.middle(features, features, more={"of": [features]})["sum"]
        return model.last(merged.view(features.shape[0], -1, *features.shape[2:]))

    model = network(Merges(), forward)
    _, reading = read_graph(model, (IMAGE,))
    assert Sections(reading.tape).around("middle").path == "middle"
    graph = ChannelGraph.trace(model, IMAGE)
    assert "view in middle needs its number of channels" in graph.frozen["first"]
