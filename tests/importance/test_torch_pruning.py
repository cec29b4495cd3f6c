"""The adapter chooses what Torch-Pruning's own pruner chooses, network by network and criterion by criterion."""

from __future__ import annotations

import builtins
import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.importance import GroupMagnitude, TorchPruning, check_scores, main_output
from pruning_lab.models import UNet
from tests.networks.scored import EXAMPLE, batches, build

peer = pytest.importorskip("torch_pruning")

OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "l1-max": {"p": 1, "normalizer": "max", "bias": True},
    "own-weights": {"group_reduction": "first", "normalizer": "sentinel_0.5"},
    "taylor": {"criterion": "taylor"},
    "taylor-sum": {"criterion": "taylor", "multivariable": True, "group_reduction": "sum", "normalizer": "gaussian"},
}


def network(name: str) -> nn.Module:
    if name != "bilinear-unet":
        return build(name)
    model = UNet(width=6, depth=2, classes=3)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.running_var.uniform_(0.5, 2.0)
    return model


def pruned_by_the_peer(model: nn.Module, heads: list[str], ratio: float, **options: Any) -> dict[str, list[int]]:
    """One step of the peer's global pruning, in place: first layer -> filters that left."""
    criterion = options.pop("criterion", "magnitude")
    kind = {"magnitude": peer.importance.MagnitudeImportance, "taylor": peer.importance.TaylorImportance}[criterion]
    pruner = peer.pruner.BasePruner(
        model,
        EXAMPLE,
        importance=kind(**options),
        global_pruning=True,
        pruning_ratio=ratio,
        max_pruning_ratio=1.0,
        ignored_layers=[model.get_submodule(name) for name in heads],
        in_channel_groups={},
        out_channel_groups={},
    )
    if criterion == "taylor":
        for image, mask in batches():
            F.cross_entropy(main_output(model(image)), mask).backward()
    names = {module: name for name, module in model.named_modules()}
    removed = {}
    for group in pruner.step(interactive=True):
        removed[names[group[0].dep.target.module]] = list(group[0].idxs)
        group.prune()
    return removed


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("name", ["bilinear-unet", "unet", "chain", "residual"])
def test_takes_what_the_peers_pruner_takes(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = network(name)
    graph = ChannelGraph.trace(model, EXAMPLE)
    heads = [layer for layer, ids in graph.layers.items() if not bool(graph.prunable[ids].any())]
    scores = check_scores(TorchPruning(**options)(model, graph, batches()), graph, "peer")

    theirs = copy.deepcopy(model)
    removed = pruned_by_the_peer(theirs, heads, 0.3, **options)
    groups = torch.cat([graph.layers[layer][filters] for layer, filters in removed.items()]).unique()
    assert len(groups) >= 0.25 * int(graph.prunable.sum())
    assert set(groups.tolist()) == set(scores.argsort(stable=True)[: len(groups)].tolist())

    cut(model, graph, groups)
    image = batches()[0][0]
    torch.testing.assert_close(answer(model, image), answer(theirs, image), rtol=1e-4, atol=1e-5)


def answer(model: nn.Module, image: Tensor) -> Tensor:
    with torch.no_grad():
        return main_output(model.eval()(image))


def test_every_filter_that_can_leave_has_a_finite_score_and_the_others_stay() -> None:
    model = network("bilinear-unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    for criterion in ("magnitude", "taylor"):
        scores = TorchPruning(criterion)(model, graph, batches())
        assert torch.equal(scores.isfinite(), graph.prunable)


def test_a_layer_without_any_gradient_stays_as_the_peer_lets_it_stay() -> None:
    model = network("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    with torch.no_grad():
        model.get_parameter("head.weight").zero_()
    scores = TorchPruning("taylor")(model, graph, batches())
    silent = graph.layers["conv1"]
    assert bool(scores[silent].isinf().all())


def test_the_size_of_the_loss_does_not_matter_and_a_frozen_weight_is_scored() -> None:
    model = network("unet")
    graph = ChannelGraph.trace(model, EXAMPLE)
    expected = TorchPruning("taylor")(model, graph, batches())
    model.requires_grad_(False)
    scaled = TorchPruning("taylor", loss=lambda logits, mask: 7 * F.cross_entropy(logits, mask))
    torch.testing.assert_close(scaled(model, graph, batches()), expected)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"criterion": "fisher"}, "importance.criterion=fisher"),
        ({"p": 0}, "importance.p=0"),
        ({"group_reduction": "median"}, "importance.group_reduction=median"),
        ({"normalizer": "sentinel_1.5"}, "importance.normalizer=sentinel_1.5"),
        ({"normalizer": "sentinel_half"}, "importance.normalizer=sentinel_half"),
    ],
)
def test_refuses_an_option_that_the_peer_does_not_have(options: dict[str, Any], named: str) -> None:
    with pytest.raises(LabError, match=named):
        TorchPruning(**options)


def test_says_which_layer_the_peer_cannot_score() -> None:
    multiplied = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 8, 3, padding=1, groups=2))
    model = nn.Sequential(multiplied, nn.Conv2d(8, 3, 1))
    graph = ChannelGraph.trace(model, EXAMPLE)
    with pytest.raises(LabError, match=r"can't score layer 0\.\d"):
        TorchPruning()(model, graph, batches())


def test_says_that_the_peer_cannot_read_the_model() -> None:
    model = network("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    with pytest.raises(LabError, match="can't read Chain"):
        TorchPruning()(model, graph, [(torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 8))])


def test_asks_for_an_image() -> None:
    model = network("chain")
    with pytest.raises(LabError, match="no images"):
        TorchPruning()(model, ChannelGraph.trace(model, EXAMPLE), [])


def test_says_how_to_install_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def without_peer(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "torch_pruning":
            raise ImportError("No module named 'torch_pruning'")
        return genuine(name, *args, **kwargs)

    model = network("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    monkeypatch.setattr(builtins, "__import__", without_peer)
    with pytest.raises(LabError, match=r"needs Torch-Pruning .*pip install 'pruning_lab\[dev\]'"):
        TorchPruning()(model, graph, batches())


@pytest.mark.parametrize("name", ["bilinear-unet", "unet", "chain"])
@pytest.mark.parametrize("p", [1, 2])
def test_our_group_magnitude_is_the_peers(name: str, p: int) -> None:
    model = network(name)
    graph = ChannelGraph.trace(model, EXAMPLE)
    theirs = TorchPruning(p=p, normalizer=None)(model, graph, batches())
    seen = theirs < torch.inf
    assert seen.any()
    torch.testing.assert_close(GroupMagnitude(p)(model, graph, [])[seen], theirs[seen])
