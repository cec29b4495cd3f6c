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
from pruning_lab.tasks.report.correlation import ScoringSetup, ablation_scores_of, agreement, correlations
from tests.networks.tiny import make_batches


@pytest.fixture(scope="module")
def setup() -> ScoringSetup:
    torch.manual_seed(0)
    model = UNet(3, 2, width=4, depth=1).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    return ScoringSetup("3fa9", model, graph, make_batches(count=2, batch=3, size=8), seed=1, effect="loss")


def test_the_whole_is_ablation_of_all_images(setup: ScoringSetup, tmp_path: Path) -> None:
    truth = ablation_scores_of(setup, tmp_path)
    expected = Ablation()(setup.model, setup.graph, setup.batches)
    prunable = setup.graph.prunable
    assert truth.images == [3, 3]
    assert torch.allclose(truth.whole[prunable].float(), expected[prunable], atol=1e-6)


@pytest.mark.parametrize("images", [1, 5])
def test_an_odd_number_of_images_has_halves_of_unequal_weight(setup: ScoringSetup, tmp_path: Path, images: int) -> None:
    image, mask = (torch.cat(parts)[:images] for parts in zip(*setup.batches, strict=True))
    fewer = replace(setup, batches=[(image, mask)])
    truth = ablation_scores_of(fewer, tmp_path)
    expected = Ablation()(setup.model, setup.graph, [(image, mask)])
    assert torch.allclose(truth.whole[setup.graph.prunable].float(), expected[setup.graph.prunable], atol=1e-6)
    assert truth.images == ([1] if images == 1 else [3, 2])
    assert math.isnan(judging._reliability(fewer, truth).spearman) == (images == 1)


def test_ablation_is_done_once_for_a_base_and_its_images(
    setup: ScoringSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ablation_scores_of(setup, tmp_path)
    monkeypatch.setattr(judging, "Ablation", None)
    assert ablation_scores_of(setup, tmp_path) == first
    with pytest.raises(TypeError):
        ablation_scores_of(replace(setup, seed=2), tmp_path)
    with pytest.raises(TypeError):
        ablation_scores_of(replace(setup, effect="flips"), tmp_path)


def test_ablation_measures_what_is_asked_for(setup: ScoringSetup, tmp_path: Path) -> None:
    truth = ablation_scores_of(replace(setup, effect="soft_mask"), tmp_path)
    expected = Ablation(effect="soft_mask")(setup.model, setup.graph, setup.batches)
    assert torch.allclose(truth.whole[setup.graph.prunable].float(), expected[setup.graph.prunable], atol=1e-6)


def truth_of(setup: ScoringSetup) -> torch.Tensor:
    return torch.rand(len(setup.graph), generator=torch.Generator().manual_seed(1))


def reversed_in_layers(setup: ScoringSetup) -> torch.Tensor:
    """Layers in the order of the truth, groups within a layer against it."""
    layers, truth = first_layers(setup.graph), truth_of(setup)
    means = torch.stack([truth[layers == layer].mean() for layer in layers])
    return means - 1e-3 * truth


@pytest.mark.parametrize(
    ("scores", "within"),
    [
        (lambda setup: truth_of(setup) ** 3, 1.0),
        (lambda setup: -truth_of(setup), -1.0),
        (lambda setup: torch.ones(len(setup.graph)), 0.0),
        (reversed_in_layers, -1.0),
    ],
)
def test_correlations_see_the_order_only(
    setup: ScoringSetup, scores: Callable[[ScoringSetup], torch.Tensor], within: float
) -> None:
    overall, in_layers = correlations(scores(setup), truth_of(setup), setup.graph)
    assert in_layers == pytest.approx(within)
    if scores is reversed_in_layers:
        assert -0.5 < overall < 1
    else:
        assert overall == pytest.approx(within)


def test_groups_that_can_not_be_cut_do_not_count(setup: ScoringSetup) -> None:
    truth = truth_of(setup)
    scores = torch.where(setup.graph.prunable, truth, torch.inf)
    assert bool((~setup.graph.prunable).any())
    assert correlations(scores, -truth, setup.graph) == (pytest.approx(-1), pytest.approx(-1))


def test_a_truth_without_an_order_can_not_be_agreed_with(setup: ScoringSetup) -> None:
    found = correlations(truth_of(setup), torch.zeros(len(setup.graph)), setup.graph)
    assert all(math.isnan(value) for value in found)


def test_ablation_agrees_with_itself_and_its_cost_is_told(setup: ScoringSetup, tmp_path: Path) -> None:
    truth = ablation_scores_of(setup, tmp_path)
    found = agreement(setup, truth, "judge", {"_target_": "pruning_lab.importance.Ablation"})
    assert (found.spearman, found.within_layers) == (pytest.approx(1, abs=0.01), pytest.approx(1, abs=0.05))
    assert found.seconds > 0
    assert (found.images, found.groups, found.base) == (6, int(setup.graph.prunable.sum()), "3fa9")


def test_a_method_that_can_not_be_had_says_why(setup: ScoringSetup, tmp_path: Path) -> None:
    found = agreement(setup, ablation_scores_of(setup, tmp_path), "gone", {"_target_": "pruning_lab.importance.Gone"})
    assert "pruning_lab.importance.Gone" in found.note
    assert math.isnan(found.spearman)
