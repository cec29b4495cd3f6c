"""Recording: whatever runs is read, and nothing of the model changes, whatever its forward does to it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.tracing.recording import record
from tests.graph.helpers import cut_against_masked, draw
from tests.networks.parts import Apply, conv

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Keeping(nn.Module):
    """Does to itself all that a forward may do: attributes, lists, dicts, buffers, and a parameter written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last, self.head = conv(3, 8), nn.BatchNorm2d(8), conv(8, 2), conv(8, 2)
        self.shared: list[Any] = [torch.zeros(1)]
        self.first.shared = self.shared
        self.kept: dict[str, Any] = {"nested": [1, 2]}
        self.calls = 0
        self.register_buffer("runs", torch.zeros(1))
        self.register_buffer("average", torch.zeros(8))

    def forward(self, image: Tensor) -> Any:
        self.calls += 1
        self.runs += 1
        with torch.no_grad():
            self.last.weight.clamp_(-0.1, 0.1)
            self.head.weight.data = self.head.weight.data.clamp(-0.1, 0.1)
        features = self.norm(self.first(image))
        self.average.mul_(0.9).add_(features.detach().mean((0, 2, 3)), alpha=0.1)
        self.shared[0] = features
        self.kept["features"], self.kept["nested"] = features, [features, {"image": image}]
        self.latest = F.dropout(features, 0.5, self.training)
        answer = self.last(torch.relu(self.latest))
        return [answer, self.head(self.shared[0])] if self.training else answer


def everything(model: nn.Module) -> dict[str, Any]:
    """Identity and content of all that a model holds."""
    found: dict[str, Any] = {}

    def look(path: str, item: Any) -> None:
        if isinstance(item, Tensor):
            found[path] = (id(item), item.detach().clone(), item.requires_grad)
        elif isinstance(item, dict):
            found[path] = (id(item), list(item))
            for key, one in item.items():
                look(f"{path}/{key}", one)
        elif isinstance(item, (list, tuple)):
            found[path] = (id(item), len(item))
            for place, one in enumerate(item):
                look(f"{path}/{place}", one)
        else:
            found[path] = (id(item),)

    for name, module in model.named_modules():
        for key, item in vars(module).items():
            look(f"{name}:{key}", item)
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one.keys() != other.keys():
        return False
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) else a == b
        for key in one
        for a, b in zip(one[key], other[key], strict=True)
    )


@pytest.mark.parametrize("trained", [False, True], ids=["fresh", "after a training step"])
@pytest.mark.parametrize("training", [False, True], ids=["in evaluation", "in training"])
def test_nothing_of_a_model_that_keeps_state_changes(training: bool, trained: bool) -> None:
    model = Keeping().train(training)
    if trained:
        sum(item.sum() for item in model.train()(IMAGE)).backward()
        model.train(training)
    before, random = everything(model), torch.get_rng_state()
    graph = ChannelGraph.trace(model, IMAGE)
    assert same(before, everything(model))
    assert torch.equal(torch.get_rng_state(), random)
    assert graph.unused == []
    assert graph.prunable[graph.layers["first"]].all()


def test_a_gradient_that_is_under_way_can_still_be_taken() -> None:
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(inplace=True), conv(4, 2))
    loss = model(IMAGE).sum()
    ChannelGraph.trace(model, IMAGE)
    loss.backward()
    assert model[0].weight.grad is not None


def exact(model: nn.Module, prunable: int) -> ChannelGraph:
    """The graph of a model, with that many groups that can be cut, and are cut exactly."""
    graph = ChannelGraph.trace(model, IMAGE)
    assert int(graph.prunable.sum()) == prunable
    for seed in range(2):
        assert verify(model, graph, draw(graph, seed), IMAGE) < 1e-6
    return graph


def _branches(m: nn.Module, x: Tensor) -> Tensor:
    y = m.first(x)
    if x.mean().item() > 1e6:
        return x
    for _ in range(int(x.amax() > -1e6) + 1):
        y = torch.relu(m.second(y)) + y
    return m.last(y)


def _numpy(m: nn.Module, x: Tensor) -> Tensor:
    weight = torch.from_numpy(x.detach().numpy().mean(1, keepdims=True))
    return m.last(m.second(m.first(x)) * weight)


def _checkpointed(m: nn.Module, x: Tensor) -> Tensor:
    return m.last(checkpoint(m.second, m.first(x), use_reentrant=False))


def _reentrant(m: nn.Module, x: Tensor) -> Tensor:
    return m.last(checkpoint(m.second, m.first(x), use_reentrant=True))


def _autocast(m: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = m.second(m.first(x)) + m.second(m.first(x))
    return m.last(y.float())


class _Doubling(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, image: Tensor) -> Tensor:
        return image * 2

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


def _own_function(m: nn.Module, x: Tensor) -> Tensor:
    return m.last(_Doubling.apply(m.second(m.first(x))))


def _by_data(m: nn.Module, x: Tensor) -> Tensor:
    y = F.conv2d(m.first(x), m.second.weight.data, m.second.bias.detach(), padding=1)
    return m.last(y.data)


@pytest.mark.parametrize(
    "forward",
    [_branches, _numpy, _checkpointed, _reentrant, _autocast, _own_function, _by_data],
    ids=lambda forward: forward.__name__.strip("_"),
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_whatever_runs_is_read_and_cut(forward: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    model = Apply(forward, first=conv(3, 6), second=conv(6, 6), last=conv(6, 2)).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    assert {"first", "second", "last"} == set(graph.layers)
    assert set(graph.frozen) == {"last"}
    cut(model, graph, draw(graph, 0))
    assert model(IMAGE).shape == (2, 2, 8, 8)


def test_a_branch_is_read_as_it_went() -> None:
    torch.manual_seed(0)
    exact(Apply(_branches, first=conv(3, 6), second=conv(6, 6), last=conv(6, 2)).eval(), prunable=6)


def test_a_wrapped_model_is_read_under_its_own_names() -> None:
    inner = nn.Sequential(conv(3, 6), nn.BatchNorm2d(6), conv(6, 2)).eval()
    graph = exact(nn.DataParallel(inner), prunable=6)
    assert list(graph.layers) == ["module.0", "module.2"]


def test_a_compiled_model_is_read_without_compiling() -> None:
    inner = nn.Sequential(conv(3, 6), nn.BatchNorm2d(6), conv(6, 2)).eval()
    compiled = torch.compile(inner, backend=_never)
    graph = ChannelGraph.trace(compiled, IMAGE, prove=False)
    assert list(graph.layers) == ["_orig_mod.0", "_orig_mod.2"]
    assert int(graph.prunable.sum()) == 6
    cut(compiled, graph, [0, 3])
    assert inner[0].out_channels == 4
    assert inner(IMAGE).shape == (2, 2, 8, 8)


def _never(*args: Any) -> Any:
    raise AssertionError("nothing must be compiled")


def test_a_function_that_a_model_holds_and_that_holds_the_model_is_followed() -> None:
    """A copy's closure still reaches the original's layers: they are known by name all the same."""
    model = nn.Module()
    model.first, model.last = conv(3, 4), conv(4, 2)
    model.forward = lambda image: model.last(model.first(image))
    tape = record(model, (IMAGE,))
    assert {step.name for step in tape.steps if step.name} == {
        "first.weight",
        "first.bias",
        "last.weight",
        "last.bias",
    }


def test_operators_know_the_module_that_called_them() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv(3, 3)

        def forward(self, image: Tensor) -> Tensor:
            return torch.relu(self.conv(image)) + 1

    tape = record(nn.Sequential(Block(), nn.Sigmoid()), (IMAGE,))
    assert [step.described for step in tape.steps if step.target] == [
        "conv2d in 0.conv",
        "relu in 0",
        "add in 0",
        "sigmoid in 1",
    ]


def test_a_model_that_fails_leaves_no_trace_in_the_process() -> None:
    class Fails(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            raise ValueError("not today")

    fast = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(Exception, match="ValueError: not today"):
        record(Fails(), (IMAGE,))
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert not torch.is_inference_mode_enabled()
    assert copy.deepcopy(IMAGE).is_inference() is False


def test_a_list_of_heads_that_two_modules_share_stays_shared() -> None:
    class Side(nn.Module):
        def __init__(self, heads: list[Tensor]) -> None:
            super().__init__()
            self.conv, self.head, self.heads = conv(3, 8), conv(8, 2), heads

        def forward(self, image: Tensor) -> Tensor:
            features = self.conv(image)
            self.heads[0] = self.head(features)
            return features

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = [torch.zeros(1, 2, 8, 8)]
            self.side, self.out = Side(self.heads), conv(8, 2)

        def forward(self, image: Tensor) -> Tensor:
            answer = self.out(self.side(image))
            return torch.stack([answer, self.heads[0]], 1) if self.training else answer

    model = Deep().eval()
    graph = ChannelGraph.trace(model, IMAGE)
    assert model.heads is model.side.heads
    assert graph.unused == []
    assert graph.prunable[graph.layers["side.conv"]].all()
    assert cut_against_masked(model, graph, draw(graph, 0), (IMAGE,)) < 1e-5


def test_no_module_of_the_model_is_told_of_the_recording() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.none, self.conv = nn.ModuleList(), conv(3, 4)
            self.some = nn.ModuleList([conv(4, 4), nn.Sequential()])

        def forward(self, image: Tensor) -> Tensor:
            features = self.conv(image)
            for module in (*self.none, *self.some):
                features = module(features)
            return features

    model = nn.Sequential(Holder(), conv(4, 2)).eval()
    before = {path: dict(vars(module)) for path, module in model.named_modules()}
    ChannelGraph.trace(model, IMAGE)
    assert {path: vars(module) for path, module in model.named_modules()} == before
