"""Whose output reaches whom, and through which normalizations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.structure.flows import Flow, Flows
from pruning_lab.graph.tracing.flow import flows_of
from pruning_lab.graph.tracing.recording import record


def flows(model: nn.Module) -> set[Flow]:
    return set(ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8)).flows)


class PostNorm(nn.Module):
    """A residual block that normalizes after its convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        stem = F.relu(self.stem_norm(self.stem(image)))
        return self.head(F.relu(stem + self.norm(self.conv(stem))))


class PreNorm(PostNorm):
    """The same modules, but what is read is normalized, and not what is given out."""

    def forward(self, image: Tensor) -> Tensor:
        stem = self.stem(image)
        return self.head(F.relu(self.norm(stem + self.conv(F.relu(self.stem_norm(stem))))))


def test_a_norm_after_a_layer_scales_that_layer_alone() -> None:
    assert flows(PostNorm()) == {
        Flow("stem", "conv", ("stem_norm",)),
        Flow("stem", "head", ("stem_norm",)),
        Flow("conv", "head", ("norm",)),
    }


def test_a_norm_before_a_layer_scales_all_that_the_layer_reads() -> None:
    assert flows(PreNorm()) == {
        Flow("stem", "conv", ("stem_norm",)),
        Flow("stem", "head", ("norm",)),
        Flow("conv", "head", ("norm",)),
    }


def test_a_layer_ends_what_flows_into_it_a_depthwise_one_too() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1))
    assert flows(model) == {Flow("0", "1"), Flow("1", "3")}


def test_concatenation_and_flattening_let_through() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Conv2d(3, 4, 1)
            self.right = nn.ConvTranspose2d(3, 2, 1)
            self.linear = nn.Linear(6, 2)

        def forward(self, image: Tensor) -> Tensor:
            return self.linear(torch.cat([self.left(image), self.right(image)], 1).mean((2, 3)).flatten(1))

    assert flows(Joined()) == {Flow("left", "linear"), Flow("right", "linear")}


def test_a_gate_reaches_whoever_reads_what_it_gates() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.squeeze = nn.Conv2d(4, 2, 1)
            self.excite = nn.Conv2d(2, 4, 1)
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, image: Tensor) -> Tensor:
            features = self.conv(image)
            gate = self.excite(F.relu(self.squeeze(features.mean((2, 3), keepdim=True))))
            return self.head(features * torch.sigmoid(gate))

    assert flows(Gated()) == {
        Flow("conv", "squeeze"),
        Flow("squeeze", "excite"),
        Flow("conv", "head"),
        Flow("excite", "head"),
    }


def test_a_bare_parameter_that_multiplies_is_a_layer() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.mixing = nn.Parameter(torch.randn(4, 5))
            self.head = nn.Linear(5, 2)

        def forward(self, image: Tensor) -> Tensor:
            return self.head(self.conv(image).mean((2, 3)) @ self.mixing)

    assert flows(Bare()) == {Flow("conv", "mixing"), Flow("mixing", "head")}


def test_flows_stay_true_through_a_cut() -> None:
    model = PostNorm()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    before = graph.flows
    cut(model, graph, [0])
    assert graph.flows == before
    assert set(before) == flows(model)


def test_a_part_without_gradients_is_laid_open() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Conv2d(3, 4, 1)
            self.frozen = nn.Conv2d(4, 4, 1)
            self.norm = nn.BatchNorm2d(4)
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, image: Tensor) -> Tensor:
            features = self.enter(image)
            with torch.no_grad():
                frozen = self.norm(self.frozen(features))
            return self.head(frozen + features)

    assert set(flows_of(record(Partly(), (torch.zeros(1, 3, 8, 8),))).listed()) == {
        Flow("enter", "frozen"),
        Flow("frozen", "head", ("norm",)),
        Flow("enter", "head"),
    }


def test_flows_are_packed_without_loss() -> None:
    flows = (Flow("0", "1"), Flow("1", "2", ("norm",)), Flow("0", "2", ("norm", "last")), Flow("0", "2", ("norm",)))
    assert Flows.of(flows).listed() == flows
    assert Flows.of(()).listed() == ()
