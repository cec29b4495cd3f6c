"""How scores are held against full ablation."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Ablation
from pruning_lab.importance.scopes import first_layers
from pruning_lab.models import UNet
from pruning_lab.tasks.report import correlation as judging
from pruning_lab.tasks.report.correlation import Court, ablation_of, agreement, correlations
from tests.small import make_batches


@pytest.fixture(scope="module")
def court() -> Court:
    torch.manual_seed(0)
    model = UNet(3, 2, width=4, depth=1).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    return Court("3fa9", model, graph, make_batches(count=2, batch=3, size=8), seed=1, effect="loss")


def test_the_whole_is_ablation_of_all_images(court: Court, tmp_path: Path) -> None:
    truth = ablation_of(court, tmp_path)
    expected = Ablation()(court.model, court.graph, court.batches)
    prunable = court.graph.prunable
    assert truth.images == [3, 3]
    assert torch.allclose(truth.whole[prunable].float(), expected[prunable], atol=1e-6)


@pytest.mark.parametrize("images", [1, 5])
def test_an_odd_number_of_images_has_halves_of_unequal_weight(court: Court, tmp_path: Path, images: int) -> None:
    image, mask = (torch.cat(parts)[:images] for parts in zip(*court.batches, strict=True))
    fewer = replace(court, batches=[(image, mask)])
    truth = ablation_of(fewer, tmp_path)
    expected = Ablation()(court.model, court.graph, [(image, mask)])
    assert torch.allclose(truth.whole[court.graph.prunable].float(), expected[court.graph.prunable], atol=1e-6)
    assert truth.images == ([1] if images == 1 else [3, 2])
    assert math.isnan(judging._reliability(fewer, truth).spearman) == (images == 1)


def test_ablation_is_done_once_for_a_base_and_its_images(
    court: Court, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ablation_of(court, tmp_path)
    monkeypatch.setattr(judging, "Ablation", None)
    assert ablation_of(court, tmp_path) == first
    with pytest.raises(TypeError):
        ablation_of(replace(court, seed=2), tmp_path)
    with pytest.raises(TypeError):
        ablation_of(replace(court, effect="flips"), tmp_path)


def test_ablation_measures_what_is_asked_for(court: Court, tmp_path: Path) -> None:
    truth = ablation_of(replace(court, effect="soft_mask"), tmp_path)
    expected = Ablation(effect="soft_mask")(court.model, court.graph, court.batches)
    assert torch.allclose(truth.whole[court.graph.prunable].float(), expected[court.graph.prunable], atol=1e-6)


def truth_of(court: Court) -> torch.Tensor:
    return torch.rand(len(court.graph), generator=torch.Generator().manual_seed(1))


def reversed_in_layers(court: Court) -> torch.Tensor:
    """Layers in the order of the truth, groups within a layer against it."""
    layers, truth = first_layers(court.graph), truth_of(court)
    means = torch.stack([truth[layers == layer].mean() for layer in layers])
    return means - 1e-3 * truth


@pytest.mark.parametrize(
    ("scores", "within"),
    [
        (lambda court: truth_of(court) ** 3, 1.0),
        (lambda court: -truth_of(court), -1.0),
        (lambda court: torch.ones(len(court.graph)), 0.0),
        (reversed_in_layers, -1.0),
    ],
)
def test_correlations_see_the_order_only(court: Court, scores: Callable[[Court], torch.Tensor], within: float) -> None:
    overall, in_layers = correlations(scores(court), truth_of(court), court.graph)
    assert in_layers == pytest.approx(within)
    if scores is reversed_in_layers:
        assert -0.5 < overall < 1
    else:
        assert overall == pytest.approx(within)


def test_groups_that_can_not_be_cut_do_not_count(court: Court) -> None:
    truth = truth_of(court)
    scores = torch.where(court.graph.prunable, truth, torch.inf)
    assert bool((~court.graph.prunable).any())
    assert correlations(scores, -truth, court.graph) == (pytest.approx(-1), pytest.approx(-1))


def test_a_truth_without_an_order_can_not_be_agreed_with(court: Court) -> None:
    found = correlations(truth_of(court), torch.zeros(len(court.graph)), court.graph)
    assert all(math.isnan(value) for value in found)


def test_ablation_agrees_with_itself_and_its_cost_is_told(court: Court, tmp_path: Path) -> None:
    truth = ablation_of(court, tmp_path)
    found = agreement(court, truth, "judge", {"_target_": "pruning_lab.importance.Ablation"})
    assert (found.spearman, found.within_layers) == (pytest.approx(1, abs=0.01), pytest.approx(1, abs=0.05))
    assert found.seconds > 0
    assert (found.images, found.groups, found.base) == (6, int(court.graph.prunable.sum()), "3fa9")


def test_a_method_that_can_not_be_had_says_why(court: Court, tmp_path: Path) -> None:
    found = agreement(court, ablation_of(court, tmp_path), "gone", {"_target_": "pruning_lab.importance.Gone"})
    assert "pruning_lab.importance.Gone" in found.note
    assert math.isnan(found.spearman)
