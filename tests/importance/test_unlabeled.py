"""Pixels without a label count for no method: every loss that a method differentiates is the run's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pruning_lab.importance import check_scores
from pruning_lab.tasks.config import build, fill_null
from tests.networks.two_paths import traced
from tests.paths import CONF
from tests.tasks.test_config import composed

UNLABELED = 11
METHODS = sorted(path.stem for path in (CONF / "importance").glob("*.yaml") if "${loss}" in path.read_text())


def test_there_are_methods_that_look_at_a_loss() -> None:
    assert {"taylor", "hessian", "ablation", "peer_taylor"} <= set(METHODS)


@pytest.mark.parametrize("option", METHODS)
def test_a_method_takes_the_loss_of_the_run_with_what_it_ignores(option: str, tmp_path: Path) -> None:
    config = composed(f"importance={option}", "loss=cross_entropy", "loss.class_weights=[1,3]")
    fill_null(config.loss, ignore_index=UNLABELED)
    method = build(config.importance)
    assert method.loss.ignore_index == UNLABELED
    assert method.loss.class_weights == [1, 3]
    model, graph = traced()
    mask = torch.randint(2, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    mask[:, :8] = UNLABELED
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    scores = check_scores(method(model, graph, [(image, mask)]), graph, method)
    assert bool(torch.isfinite(scores[graph.prunable]).all())


@pytest.mark.parametrize("option", ["taylor", "hessian"])
def test_what_an_unlabeled_pixel_says_does_not_count(option: str) -> None:
    config = composed(f"importance={option}", "loss=cross_entropy")
    fill_null(config.loss, ignore_index=UNLABELED)
    method = build(config.importance)
    model, graph = traced()
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    nothing = torch.full((1, 16, 16), UNLABELED)
    assert float(method(model, graph, [(image, nothing)]).abs().max()) == 0
