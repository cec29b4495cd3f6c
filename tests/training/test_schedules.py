from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, lr_scheduler

from pruning_lab.common.errors import LabError
from pruning_lab.training.schedules import constant, cosine, linear, make_scheduler


def rates(factory, total_steps: int) -> list[float]:
    """The rate that each of `total_steps` steps is taken with, and the one after the last."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make_scheduler(factory, optimizer, total_steps)
    seen = []
    for _ in range(total_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [*seen, optimizer.param_groups[0]["lr"]]


def test_constant_stays() -> None:
    assert rates(constant, 4) == [1.0] * 5


def test_linear_falls_evenly_to_its_final_fraction() -> None:
    assert rates(partial(linear, final_fraction=0.2), 4) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_is_torchs() -> None:
    assert rates(cosine, 10) == pytest.approx(rates(lr_scheduler.CosineAnnealingLR, 10), abs=1e-12)


@pytest.mark.parametrize("factory", [constant, linear, cosine])
def test_the_warm_up_rises_evenly_to_the_full_rate(factory) -> None:
    assert rates(partial(factory, warmup_fraction=0.3), 10)[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("factory", [linear, cosine])
def test_after_a_warm_up_the_whole_fall_still_happens(factory) -> None:
    warmed = rates(partial(factory, warmup_fraction=0.3, final_fraction=0.1), 10)
    assert warmed[3:] == pytest.approx(rates(partial(factory, final_fraction=0.1), 7))


@pytest.mark.parametrize(
    ("factory", "last"),
    [
        (partial(lr_scheduler.OneCycleLR, max_lr=1.0, cycle_momentum=False), 1.0 / 25 / 1e4),
        (partial(lr_scheduler.CosineAnnealingLR, eta_min=0.5), 0.5),
        (partial(lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.25), 0.25),
    ],
)
def test_torchs_schedulers_are_told_the_length(factory, last: float) -> None:
    seen = rates(factory, 8)
    assert min(seen[-2:]) == pytest.approx(last)
    assert all(rate > last * 1.01 for rate in seen[1:-2])


def test_a_length_that_the_config_has_set_is_left_alone() -> None:
    assert rates(partial(lr_scheduler.CosineAnnealingLR, T_max=2), 4) == pytest.approx([1, 0.5, 0, 0.5, 1])


def test_a_scheduler_without_a_length_works() -> None:
    assert rates(partial(lr_scheduler.StepLR, step_size=2, gamma=0.1), 4) == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_a_scheduler_that_follows_a_metric_is_refused() -> None:
    with pytest.raises(LabError, match="ReduceLROnPlateau"):
        rates(lr_scheduler.ReduceLROnPlateau, 2)


@pytest.mark.parametrize(
    ("factory", "key"),
    [
        (partial(constant, warmup_fraction=1.5), "scheduler.warmup_fraction"),
        (partial(linear, final_fraction=-0.1), "scheduler.final_fraction"),
        (partial(cosine, final_fraction=2), "scheduler.final_fraction"),
    ],
)
def test_an_impossible_argument_is_named(factory, key: str) -> None:
    with pytest.raises(LabError, match=key):
        rates(factory, 4)
