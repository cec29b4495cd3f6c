"""Ablation against brute force: every group masked by surgery in a copy of its own, which then runs as a whole."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.mask import mask
from pruning_lab.importance import Ablation, cross_entropy, main_output
from tests.networks.scored import CLASSES, EXAMPLE, NETS, batches, build

Data = list[tuple[Tensor, Tensor]]


@torch.no_grad()
def masked_logits(model: nn.Module, graph: ChannelGraph, group: int | None, data: Data) -> Tensor:
    """Logits of all images, with a group masked or (None) with none."""
    model = copy.deepcopy(model).eval()
    if group is not None:
        mask(model, graph, [group])
    return torch.cat([main_output(model(image)) for image, _ in data])


def brute_force(model: nn.Module, graph: ChannelGraph, data: Data, effect: str) -> Tensor:
    """[n_groups], from definitions written out anew."""
    target = torch.cat([masks for _, masks in data])
    whole = masked_logits(model, graph, None, data)
    scores = torch.zeros(len(graph))
    for group in graph.prunable.nonzero().flatten().tolist():
        masked = masked_logits(model, graph, group, data)
        scores[group] = {
            "loss": lambda masked=masked: F.cross_entropy(masked, target) - F.cross_entropy(whole, target),
            "flips": lambda masked=masked: (masked.argmax(1) != whole.argmax(1)).float().mean(),
            "soft_mask": lambda masked=masked: (masked.softmax(1) - whole.softmax(1)).abs().sum(1).mean() / 2,
            "logits": lambda masked=masked: (masked - whole).abs().mean(),
        }[effect]()
    return torch.where(graph.prunable, scores, scores.max())


def assert_exact(model: nn.Module, method: Ablation, data: Data | None = None, example: Tensor = EXAMPLE) -> None:
    graph = ChannelGraph.trace(model, example)
    data = data or batches()
    expected = brute_force(model, graph, data, method.effect)
    torch.testing.assert_close(method(model, graph, data), expected, rtol=1e-4, atol=1e-6)
    assert float(expected.abs().max()) > 1e-3
    assert method.last_report.evaluations == int(graph.prunable.sum()) * sum(len(image) for image, _ in data)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("effect", ["loss", "flips", "soft_mask", "logits"])
def test_equals_brute_force(effect: str, net: str) -> None:
    model, method = build(net), Ablation(effect)
    nn.init.zeros_(model.head.bias)
    assert_exact(model, method)
    assert method.last_report.brute_force is None


@pytest.mark.parametrize("memory_mb", [1e-6, 0.005, 100.0])
def test_memory_bounds_change_the_way_and_not_the_result(memory_mb: float) -> None:
    method = Ablation("logits", memory_mb=memory_mb)
    assert_exact(build("unet"), method)
    images, parts = 6, 4
    to_start_with = 2
    expected = to_start_with + (images if memory_mb == 100 else images * (1 + parts))
    assert method.last_report.whole_runs == expected


def test_images_of_several_sizes() -> None:
    assert_exact(build("unet"), Ablation(), [*batches(images=2, size=8), *batches(images=2, size=8)])
    model = build("unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    small, large = batches(images=2, size=8), batches(images=2, size=12)
    mixed = Ablation()(model, graph, [*small, *large])[graph.prunable]
    apart = (Ablation()(model, graph, small) + Ablation()(model, graph, large))[graph.prunable] / 2
    torch.testing.assert_close(mixed, apart, rtol=1e-4, atol=1e-7)


class InPlace(nn.Module):
    """Activations that write into what they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.middle = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Conv2d(4, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = F.relu_(self.enter(image))
        features = features.clone().add_(F.relu(self.middle(features), inplace=True))
        return self.head(F.dropout(features, training=self.training))


class Gated(nn.Module):
    """Squeeze and excitation, a group norm, bilinear up-sampling and nested concatenations."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.squeeze = nn.Conv2d(4, 2, 1)
        self.excite = nn.Conv2d(2, 4, 1)
        self.deep = nn.Conv2d(4, 3, 3, stride=2, padding=1)
        self.join = nn.Conv2d(4 + 3 + 4, 5, 3, padding=1)
        self.head = nn.Conv2d(5, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.norm(self.enter(image))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(features.mean((2, 3), keepdim=True)))))
        gated = F.silu(features * gate)
        deep = F.interpolate(self.deep(gated), scale_factor=2, mode="bilinear", align_corners=False)
        joined = torch.cat([gated, torch.cat([deep, features], dim=1)], dim=1)
        return self.head(F.relu(self.join(joined)))


class Attention(nn.Module):
    """Queries and keys are multiplied with each other: no weight reads their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 6, 1)
        self.query = nn.Linear(6, 4)
        self.key = nn.Linear(6, 4)
        self.value = nn.Linear(6, 4)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.enter(image).flatten(2).transpose(1, 2)
        found = F.scaled_dot_product_attention(self.query(tokens), self.key(tokens), self.value(tokens))
        return self.head(found).transpose(1, 2).reshape(len(image), CLASSES, *image.shape[2:])


class TwoAnswers(nn.Module):
    """The logits, and beside them an answer for which nobody asked."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 1)
        self.second = nn.Conv2d(4, CLASSES, 3)
        self.head = nn.Conv2d(4, CLASSES, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = torch.relu(self.enter(image))
        return {"aux": self.second(features), "out": self.head(features)}


@pytest.mark.parametrize("network", [InPlace, Gated, Attention, TwoAnswers])
def test_structures_of_real_networks(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    method = Ablation("logits")
    assert_exact(network(), method)
    assert method.last_report.brute_force is None


class WritesIntoView(nn.Module):
    """Zeroes a row of its features in place, through a view."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 1)
        self.head = nn.Conv2d(4, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = torch.relu(self.enter(image)).clone()
        features[:, :, 0] = 0
        return self.head(features)


class WritesIntoBuffer(WritesIntoView):
    """Writes where an operator is told to, and not into its own argument."""

    def forward(self, image: Tensor) -> Tensor:
        doubled = torch.mul(image, 2, out=torch.empty(image.shape))
        return self.head(torch.relu(self.enter(doubled)))


class LooksAtValues(WritesIntoView):
    """What it multiplies with is a number that its own code took from an image."""

    def forward(self, image: Tensor) -> Tensor:
        features = torch.relu(self.enter(image))
        return self.head(features * features.mean().item())


class LeavesTorch(WritesIntoView):
    """What it adds went through numpy, which no recorder sees."""

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.relu(self.enter(image)) + torch.from_numpy(np.abs(image.numpy()).mean(1, keepdims=True)))


def test_what_is_written_into_a_view_is_replayed() -> None:
    torch.manual_seed(0)
    method = Ablation("logits")
    assert_exact(WritesIntoView(), method)
    assert method.last_report.brute_force is None


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (WritesIntoBuffer, "writes into its argument"),
        (LooksAtValues, "hands a value to Python"),
        (LeavesTorch, "answer otherwise"),
    ],
)
def test_a_model_that_cannot_be_replayed_is_run_as_a_whole(network: type[nn.Module], reason: str) -> None:
    torch.manual_seed(0)
    model, method = network(), Ablation("logits")
    graph = ChannelGraph.trace(model, EXAMPLE)
    graph.prunable[graph.layers["enter"]] = True
    data = [pair for images, masks in batches() for pair in zip(images.split(1), masks.split(1), strict=True)]
    expected = brute_force(model, graph, data, "logits")
    torch.testing.assert_close(method(model, graph, data), expected, rtol=1e-4, atol=1e-6)
    assert reason in str(method.last_report.brute_force)
    assert method.last_report.saving == 1


def test_a_group_that_nobody_reads_has_no_effect() -> None:
    model = build("unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    mask(model, graph, [2])
    assert float(Ablation("logits")(model, graph, batches())[2]) == pytest.approx(0, abs=1e-6)


def test_the_loss_can_be_the_users_own() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    doubled = Ablation(loss=lambda logits, target: 2 * cross_entropy(logits, target))
    torch.testing.assert_close(doubled(model, graph, batches()), 2 * Ablation()(model, graph, batches()))


def test_a_limit_on_images_takes_the_first_ones() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    taken = 0

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal taken
        for image, target in batches():
            taken += len(image)
            yield image, target

    limited = Ablation(images=3)(model, graph, stream())
    assert taken == 4
    first = [
        (image[:1] if place else image, target[:1] if place else target)
        for place, (image, target) in enumerate(batches()[:2])
    ]
    torch.testing.assert_close(limited, Ablation()(model, graph, first))


def test_sampled_pixels_estimate_the_whole() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    every = Ablation("logits")(model, graph, batches())
    torch.testing.assert_close(Ablation("logits", pixels=64)(model, graph, batches()), every)
    some = Ablation("logits", pixels=16)(model, graph, batches())
    assert not torch.equal(some, every)
    assert torch.corrcoef(torch.stack([some, every])[:, graph.prunable])[0, 1] > 0.9
    assert not torch.equal(Ablation("logits", pixels=16, seed=1)(model, graph, batches()), some)


def test_rounds_halve_the_groups_and_score_the_least_on_all_images() -> None:
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    every, method = Ablation("logits")(model, graph, batches()), Ablation("logits", rounds=3)
    halved = method(model, graph, batches())
    groups, per_round = 14, 2
    assert method.last_report.evaluations == per_round * (groups + groups // 2 + 4)
    least = int(torch.where(graph.prunable, every, torch.inf).argmin())
    assert halved[graph.prunable].min() == pytest.approx(float(every[least]), rel=1e-4)
    first = Ablation("logits")(model, graph, batches()[:1])
    dropped = first[graph.prunable].argsort()[7:]
    torch.testing.assert_close(halved[graph.prunable][dropped], first[graph.prunable][dropped])


def test_running_only_what_lies_behind_saves_more_than_half_on_a_unet() -> None:
    method = Ablation()
    model = build("unet", width=8)
    method(model, ChannelGraph.trace(model, EXAMPLE), batches(images=2))
    assert method.last_report.saving > 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"effect": "iou"}, "effect=iou"),
        ({"images": 0}, "images=0"),
        ({"pixels": 0}, "pixels=0"),
        ({"rounds": 0}, "rounds=0"),
        ({"memory_mb": 0}, "memory_mb=0"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(LabError, match=message):
        Ablation(**wrong)


def test_no_images_is_an_error_that_names_the_knob() -> None:
    model = build("chain")
    with pytest.raises(LabError, match="score_images"):
        Ablation()(model, ChannelGraph.trace(model, EXAMPLE), [])


def test_operators_that_know_no_batch_of_groups_are_run_group_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("unet").eval()
    graph = ChannelGraph.trace(model, EXAMPLE)
    images = batches()
    expected = Ablation()(model, graph, images)

    def refuses(function: object) -> object:
        raise RuntimeError("NYI: querying is_contiguous inside of vmap")

    monkeypatch.setattr(torch, "vmap", refuses)
    ablation = Ablation()
    assert torch.allclose(ablation(model, graph, images), expected, atol=1e-6)
    assert ablation.last_report.brute_force is None
