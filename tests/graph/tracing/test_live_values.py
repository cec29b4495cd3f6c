"""Peak activation memory in closed form: by hand, against a run that counts storages, and through cuts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.models import UNet
from pruning_lab.resources.counting import measure, memory_savings
from tests.networks.parts import slope
from tests.networks.two_paths import TwoPaths, random_groups, traced


class Shuffled(nn.Module):
    """Views, chunks, a reshape that copies, an operator in place, and a flatten to a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 12, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Linear(12 * 16, 5)

    def forward(self, image: Tensor) -> Tensor:
        one, other = self.act(self.first(image)).chunk(2, 1)
        features = self.pool(self.act(self.second(torch.cat([other, one], 1))))
        return self.head(features.permute(0, 2, 3, 1).permute(0, 3, 1, 2).flatten(1))


class Counting(fx.Interpreter):
    """Runs a graph, lets go of every tensor after its last use, and remembers the most bytes that were alive."""

    def __init__(self, module: fx.GraphModule, given: list[Tensor]) -> None:
        super().__init__(module)
        self.given = {item.untyped_storage().data_ptr() for item in given}
        self.peak = 0

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op != "output":
            tensors = [item for value in (*self.env.values(), result) for item in _tensors(value)]
            storages = {item.untyped_storage().data_ptr(): item.untyped_storage().nbytes() for item in tensors}
            self.peak = max(self.peak, sum(size for place, size in storages.items() if place not in self.given))
        return result


def _tensors(value: Any) -> list[Tensor]:
    items = value if isinstance(value, (tuple, list)) else [value]
    return [item for item in items if isinstance(item, Tensor)]


@torch.no_grad()
def counted(model: nn.Module, image: Tensor) -> int:
    program = torch.export.export(model, (image,), strict=False)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    names = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    given = [tensors[names[n.name]] for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
    run = Counting(program.graph_module, [*given, image])
    run.run(*given, image, enable_io_processing=False)
    return run.peak + image.untyped_storage().nbytes()


def test_the_fullest_moment_of_a_chain_is_counted_by_hand() -> None:
    _, graph = traced(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)), size=8)
    image, wide = 3 * 64 * 4, 4 * 64 * 4
    assert measure(graph).memory == image + wide + wide


def test_a_view_and_an_operator_in_place_take_no_memory_of_their_own() -> None:
    _, graph = traced(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Flatten()), size=8)
    assert measure(graph).memory == (3 + 4) * 64 * 4


def test_a_skip_connection_keeps_its_value_alive() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.narrow = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
            self.head = nn.Conv2d(10, 1, 1)

        def forward(self, image: Tensor) -> Tensor:
            wide = self.wide(image)
            return self.head(torch.cat([wide, self.narrow(wide)], 1))

    _, graph = traced(Skip(), size=8)
    assert measure(graph).memory == (3 + 8 + 2 + 10) * 64 * 4


MODELS: list[Callable[[], nn.Module]] = [TwoPaths, Shuffled, lambda: UNet(3, 2, width=4, depth=2)]


@pytest.mark.parametrize("build", MODELS, ids=["two paths", "views", "unet"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_what_is_counted_on_paper_is_what_a_run_keeps(build: Callable[[], nn.Module], share: float) -> None:
    model, graph = traced(build())
    groups = random_groups(graph, share)
    expected = measure(graph, groups).memory
    cut(model, graph, groups)
    assert measure(graph).memory == expected == counted(model, torch.zeros(1, 3, 16, 16))


def test_a_groups_saving_is_what_leaves_the_fullest_moment() -> None:
    _, graph = traced(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)), size=8)
    saved = memory_savings(graph)
    assert saved[graph.layers["0"]].tolist() == [2 * 64 * 4] * 4
    assert saved[graph.layers["2"]].tolist() == [0, 0]
    one = torch.zeros(len(graph), dtype=torch.bool)
    one[0] = True
    assert measure(graph).memory - measure(graph, one).memory == int(saved[0])


def test_a_model_known_by_its_connections_alone_has_no_memory_on_paper() -> None:
    class Sloping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.second(self.first(image) if float(slope(image).sum()) >= 0 else self.first(-image))

    def connections(layer: str, index: int, consumer: str) -> int | None:
        return index if (layer, consumer) == ("first", "second") else None

    model = Sloping()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8), connections=connections)
    assert measure(graph).memory is None
    assert "memory" not in measure(graph).fractions_of(measure(graph))
    assert int(memory_savings(graph).sum()) == 0
