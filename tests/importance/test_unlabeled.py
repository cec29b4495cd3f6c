"""Pixels without a label count for no method: every loss that a method differentiates is the run's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import torch

from pruning_lab.importance import check_scores
from pruning_lab.tasks.assembly import importance_of
from pruning_lab.tasks.config import build, fill_null
from tests.networks.two_paths import traced
from tests.paths import CONF
from tests.tasks.test_config import composed

UNLABELED = 11
METHODS = sorted(path.stem for path in (CONF / "importance").glob("*.yaml") if "\nloss: ${loss}" in path.read_text())


WRAPPED = ["steady_taylor", "downstream_taylor", "taylor_by_layer", "taylor_layer_flops", "reconstruction"]


def methods_in(thing: object) -> Iterator[object]:
    """A method, and those that it is wrapped around."""
    if isinstance(thing, (list, tuple)):
        for one in thing:
            yield from methods_in(one)
    elif is_dataclass(thing):
        yield thing
        for part in fields(thing):
            yield from methods_in(getattr(thing, part.name))


@pytest.mark.parametrize("option", WRAPPED)
def test_a_method_within_others_takes_the_loss_of_the_run_too(option: str) -> None:
    config = composed(f"importance={option}", "loss=cross_entropy", "loss.class_weights=[1,3]")
    fill_null(config.loss, ignore_index=UNLABELED)
    losses = [one.loss for one in methods_in(importance_of(config)) if hasattr(one, "loss")]
    assert all((loss.ignore_index, loss.class_weights) == (UNLABELED, [1, 3]) for loss in losses)
    assert losses


def test_a_method_within_others_leaves_out_pixels_without_a_label() -> None:
    config = composed("importance=steady_taylor")
    fill_null(config.loss, ignore_index=UNLABELED)
    model, graph = traced()
    mask = torch.full((2, 16, 16), UNLABELED)
    mask[:, 8:] = 1
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    method = importance_of(config)
    assert bool(
        torch.isfinite(check_scores(method(model, graph, [(image, mask)]), graph, method)[graph.prunable]).all()
    )


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
