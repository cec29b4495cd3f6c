"""Reconstruction against brute force: cut one group, solve its readers anew, and measure what they lose."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import modules_of
from pruning_lab.compensation.patches import channels_of, patches_at, rows_at, sampled_places
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Downstream, Reconstruction, main_output
from pruning_lab.surgery import cut
from tests.networks.combined import NETS as READER_NETS
from tests.networks.combined import combined
from tests.networks.scored import EXAMPLE, NETS, batches, build

ALL = 10_000

Worth = dict[str, Tensor]


@torch.no_grad()
def read(model: nn.Module, graph: ChannelGraph, image: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Reader -> what its filters see [rows, groups, entries], and its output [rows, filters], at every place."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def hook(name: str):
        def keep(module, inputs, output):
            flat = channels_of(module, output)
            places = sampled_places(flat, ALL)
            seen = patches_at(module, inputs[0], tuple(output.shape[2:]), places)
            found.setdefault(name, []).append((seen.double(), rows_at(flat, places).double()))

        return keep

    names = {read.layer for read in graph.consumers if bool((read.channels >= 0).any())}
    handles = [module.register_forward_hook(hook(name)) for name in names for module in modules_of(model, name)]
    model(image)
    for handle in handles:
        handle.remove()
    return {name: tuple(map(torch.cat, zip(*parts, strict=True))) for name, parts in found.items()}  # type: ignore[misc]


def brute_force(
    model: nn.Module,
    graph: ChannelGraph,
    group: int,
    image: Tensor,
    shifts: dict[str, bool],
    worth: Worth | None = None,
) -> float:
    """Cut one group; each reader's best new weights, over what it still reads; what its filters then lack.

    `worth`: of an error of each filter of a reader, float64 [filters].
    """
    small, left = copy.deepcopy(model), copy.copy(graph)
    cut(small, left, [group])
    whole = read(model, graph, image)
    total = 0.0
    for read_by in graph.consumers:
        name = read_by.layer
        if name not in whole or not bool((read_by.channels == group).any()):
            continue
        seen, output = whole[name]
        stays = graph.layers[name] != group
        blocks = seen.shape[1]
        entries = read_by.channels.reshape(blocks, -1).repeat_interleave(
            seen.shape[2] * blocks // len(read_by.channels), 1
        )
        lost = 0.0
        for block in range(blocks):
            kept = seen[:, block][:, entries[block] != group]
            own = slice(block * output.shape[1] // blocks, (block + 1) * output.shape[1] // blocks)
            target = output[:, own][:, stays[own]]
            bias = model.get_submodule(name).bias
            if not shifts[name] and bias is not None:
                target = target - bias.detach().double()[own][stays[own]]
            known = torch.cat([kept, torch.ones(len(kept), 1)], 1) if shifts[name] else kept
            solution = torch.linalg.lstsq(known, target, driver="gelsd").solution
            own_worth = torch.ones(int(stays[own].sum())) if worth is None else worth[name][own][stays[own]]
            lost += float((own_worth * (target - known @ solution).square().mean(0)).sum())
        total += lost / _spread(output, shifts[name], None if worth is None else worth[name])
    return total


def _spread(output: Tensor, shifts: bool, worth: Tensor | None = None) -> float:
    centered = output - output.mean(0) if shifts else output
    size = centered.square().mean(0)
    return float((size if worth is None else worth * size).sum())


def has_shift(model: nn.Module, graph: ChannelGraph) -> dict[str, bool]:
    """Which layers have a bias, or a norm behind that stands for one."""
    behind = {flow.source for flow in graph.flows if flow.norms}
    return {name: model.get_submodule(name).bias is not None or name in behind for name in graph.layers}


@pytest.mark.parametrize("net", NETS)
def test_a_score_is_what_the_readers_lose_after_they_are_solved_anew(net: str) -> None:
    model = build(net).eval()
    graph = ChannelGraph.trace(model, EXAMPLE)
    image = torch.cat([image for image, _ in batches()])
    check(model, graph, image)


@pytest.mark.parametrize("name", [name for name in READER_NETS if name not in ("linear", "twice")])
def test_every_kind_of_reader_loses_what_brute_force_says(name: str) -> None:
    torch.manual_seed(3)
    make, shape = READER_NETS[name]
    model = make().eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, *shape[1:]))
    check(model, graph, torch.randn(30, *shape[1:]))


def check(model: nn.Module, graph: ChannelGraph, image: Tensor, worth: Worth | None = None, **options: object) -> None:
    target = options.pop("target", image[:, 0])
    method = Reconstruction(greedy=0.0, places=ALL, widest=ALL, ridge=1e-12, **options)
    scores = method(model, graph, [(image, target)])
    shifts = has_shift(model, graph)
    for group in graph.prunable.nonzero().flatten().tolist():
        expected = brute_force(model, graph, group, image, shifts, worth)
        assert float(scores[group]) == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("net", ["chain", "unet", "residual"])
def test_weighed_by_the_gradient_it_is_the_loss_of_what_the_runs_loss_looks_at(net: str) -> None:
    model = build(net).eval()
    graph = ChannelGraph.trace(model, EXAMPLE)
    image, target = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    check(model, graph, image, squared_gradients(model, graph, image, target), weigh="gradient", target=target)


def keeping(outputs: dict[str, Tensor], name: str):
    def hook(_, __, output):
        outputs[name] = output

    return hook


def squared_gradients(model: nn.Module, graph: ChannelGraph, image: Tensor, target: Tensor) -> Worth:
    """Mean over images of the sum over places of (d loss / d output)^2, image by image, by autograd itself."""
    found: Worth = {name: torch.zeros(len(row), dtype=torch.float64) for name, row in graph.layers.items()}
    for single, own in zip(image.split(1), target.split(1), strict=True):
        outputs: dict[str, Tensor] = {}
        handles = [model.get_submodule(name).register_forward_hook(keeping(outputs, name)) for name in graph.layers]
        loss = nn.functional.cross_entropy(main_output(model(single)), own)
        for handle in handles:
            handle.remove()
        for name, gradient in zip(outputs, torch.autograd.grad(loss, list(outputs.values())), strict=True):
            channels = gradient.movedim(-1, 1) if isinstance(model.get_submodule(name), nn.Linear) else gradient
            found[name] += channels[0].double().flatten(1).square().sum(1) / len(image)
    return found


@pytest.mark.parametrize("net", ["chain", "unet", "residual"])
def test_weighed_by_what_lies_downstream_each_filter_counts_as_it_feeds_others(net: str) -> None:
    model = build(net).eval()
    graph = ChannelGraph.trace(model, EXAMPLE)
    image = torch.cat([image for image, _ in batches()])
    ahead = Downstream(mix=0.0, last_layers="ones", active=True).by_filter(model, graph, [(image, image[:, 0])])
    check(model, graph, image, {name: row.double() for name, row in ahead.items()}, weigh="downstream")


def test_a_reader_that_the_loss_does_not_look_at_loses_nothing() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 6, 3)
            self.seen, self.unseen = nn.Conv2d(6, 3, 1), nn.Conv2d(6, 3, 1)

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            features = torch.relu(self.first(image))
            return self.seen(features), self.unseen(features)

    torch.manual_seed(0)
    model = Forked().eval()
    with torch.no_grad():
        model.seen.weight[:, 2] = 0
    graph = ChannelGraph.trace(model, EXAMPLE)
    data = [(image, target.clamp(max=2)[:, 1:-1, 1:-1]) for image, target in batches()]
    group = int(graph.layers["first"][2])
    assert float(Reconstruction("none", greedy=0.0)(model, graph, data)[group]) > 1e-3
    assert float(Reconstruction("none", greedy=0.0, weigh="gradient")(model, graph, data)[group]) < 1e-9


def test_what_leaves_one_by_one_loses_what_brute_force_says_at_that_moment() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 1)).eval()
    graph = ChannelGraph.trace(model, EXAMPLE)
    image = torch.randn(8, 3, 8, 8)
    scores = Reconstruction(greedy=1.0, places=ALL, ridge=1e-12)(model, graph, [(image, image[:, 0])])
    seen, output = read(model, graph, image)["2"]
    order = scores[:6].argsort().tolist()
    gone = [0.0]
    for left in range(1, 6):
        kept = torch.cat([seen[:, 0, order[left:]], torch.ones(len(seen), 1)], 1)
        target = output - output.mean(0)
        lost = (target - kept @ torch.linalg.lstsq(kept, target).solution).square().mean(0).sum()
        gone.append(float(lost / _spread(output, True)))
    more = torch.tensor(gone).diff()
    torch.testing.assert_close(scores[order[:5]], more.cummax(0).values, rtol=1e-3, atol=1e-6)


def test_of_two_filters_that_can_stand_for_each_other_one_is_dear() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 1)).eval()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
    graph = ChannelGraph.trace(model, EXAMPLE)
    alone = Reconstruction(greedy=0.0)(model, graph, batches())
    followed = Reconstruction(greedy=0.2)(model, graph, batches())
    assert alone[:2].max() < 1e-6
    first, second = sorted(followed[:2].tolist())
    assert first < 1e-6
    assert second > 1e-3


def test_what_follows_from_other_channels_costs_nothing() -> None:
    for name in ("convolution", "grouped", "sum and concatenation"):
        model, graph, _, groups = combined(name)
        image = torch.randn(40, *READER_NETS[name][1][1:])
        scores = Reconstruction(greedy=0.0, places=ALL)(model, graph, [(image, image[:, 0])])
        assert scores[groups].max() < 1e-5
        assert scores[graph.layers["reader" if name != "sum and concatenation" else "of_sum"]].min() > 1e-4


def test_a_wide_reader_is_seen_tap_by_tap() -> None:
    """Its loss is then that of a reader of single places, with as many filters as taps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1, padding_mode="circular")).eval()
    single = nn.Sequential(model[0], model[1], nn.Conv2d(5, 36, 1)).eval()
    with torch.no_grad():
        single[2].weight.copy_(model[2].weight.permute(0, 2, 3, 1).reshape(36, 5, 1, 1))
    graph, other = (ChannelGraph.trace(net, EXAMPLE) for net in (model, single))
    apart = Reconstruction("none", greedy=0.0, places=ALL, widest=44)(model, graph, batches())
    expected = Reconstruction("none", greedy=0.0, places=ALL)(single, other, batches())
    torch.testing.assert_close(apart[:5], expected[:5], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"relative_to": "loss"}, "relative_to=loss"),
        ({"weigh": "loss"}, "weigh=loss"),
        ({"greedy": 2.0}, "greedy=2"),
        ({"places": 0}, "must be positive"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(LabError, match=message):
        Reconstruction(**wrong)
