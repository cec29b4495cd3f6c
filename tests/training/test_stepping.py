"""Looking at a step's numbers one step later trains the same, and takes back the same, as looking at once."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from pruning_lab.training import stepping
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.loop import NonFiniteLossError, TaskLoss, TrainReport, train
from pruning_lab.training.losses import CrossEntropy
from pruning_lab.training.schedules import linear
from tests.networks.tiny import TinyNet, make_batches, same_state, state_of

OPTIMIZERS = {
    "sgd": SGD,
    "momentum": partial(SGD, momentum=0.9, nesterov=True),
    "adam": partial(Adam, amsgrad=True),
    "adamw": AdamW,
    "rmsprop": partial(RMSprop, momentum=0.5, centered=True),
}
BATCHES = 4

OptimizerOf = Callable[[Iterable[nn.Parameter]], Optimizer]
ways = pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])


@pytest.fixture(autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU would do, where a test asks for it."""
    if "later" in request.fixturenames:
        look(monkeypatch, request.getfixturevalue("later"))


def look(monkeypatch: pytest.MonkeyPatch, later: bool) -> None:
    monkeypatch.setattr(stepping, "looks_later", lambda settings: later)


class Watched:
    """An objective that keeps what model and optimizer held before each batch; one batch's loss may be spoilt."""

    def __init__(self, optimizer: Optimizer, bad: int | None = None, spoil: Callable[[Tensor], Tensor] | None = None):
        self.optimizer, self.bad, self.spoil = optimizer, bad, spoil
        self.before: list[tuple[dict[str, Tensor], dict[str, Any]]] = []

    def __call__(self, model: nn.Module, image: Tensor, mask: Tensor) -> Tensor:
        loss = TaskLoss(CrossEntropy())
        number = len(self.before)
        self.before.append((state_of(model), copy.deepcopy(self.optimizer.state_dict())))
        value = loss(model, image, mask)
        return self.spoil(value) if number == self.bad and self.spoil is not None else value


def trained(
    optimizer_of: OptimizerOf, bad: int | None = None, spoil: Callable[[Tensor], Tensor] | None = None
) -> tuple[TinyNet, Optimizer, Watched, list[float], TrainReport | NonFiniteLossError]:
    torch.manual_seed(0)
    model = TinyNet()
    optimizer = optimizer_of(model.parameters())
    watched, told = Watched(optimizer, bad, spoil), []
    batches = make_batches(BATCHES)
    try:
        report: TrainReport | NonFiniteLossError = train(
            model,
            lambda epoch: batches,
            objective=watched,
            optimizer=optimizer,
            scheduler=linear,
            epochs=2,
            first_epoch=3,
            settings=ComputeSettings(clip_norm=0.5),
            on_batch=told.append,
        )
    except NonFiniteLossError as error:
        report = error
    return model, optimizer, watched, told, report


def nan(loss: Tensor) -> Tensor:
    return loss * math.nan


def without_gradient(loss: Tensor) -> Tensor:
    """The same loss, with a gradient that is not a number."""
    return loss + (loss * 0).sqrt()


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_both_ways_train_the_same_bit_for_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for later in (False, True):
        look(monkeypatch, later)
        runs.append(trained(partial(OPTIMIZERS[name], lr=0.05)))
    (model, optimizer, _, told, report), (other, second, _, heard, account) = runs
    assert same_state(state_of(model), state_of(other))
    assert equal(optimizer.state_dict(), second.state_dict())
    assert told == heard
    assert len(told) == 2 * BATCHES
    assert (report.mean_loss, report.images) == (account.mean_loss, account.images)
    assert (report.learning_rate_start, report.learning_rate_end) == (
        account.learning_rate_start,
        account.learning_rate_end,
    )


@ways
@pytest.mark.parametrize("spoil", [nan, without_gradient])
@pytest.mark.parametrize("bad", [0, 1, BATCHES + 1, 2 * BATCHES - 1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_that_was_not_finite_is_undone_bit_for_bit(
    name: str, bad: int, spoil: Callable[[Tensor], Tensor], later: bool
) -> None:
    model, optimizer, watched, told, _ = trained(partial(OPTIMIZERS[name], lr=0.05), bad, spoil)
    state, memory = watched.before[bad]
    assert same_state(state_of(model), state)
    assert equal(optimizer.state_dict(), memory)
    assert len(told) == bad
    assert all(map(math.isfinite, told))


@pytest.mark.parametrize(("spoil", "what"), [(nan, "the loss is nan"), (without_gradient, "the gradient's norm is")])
@pytest.mark.parametrize("bad", [0, BATCHES + 1, 2 * BATCHES - 1])
def test_both_ways_say_the_same(
    bad: int, spoil: Callable[[Tensor], Tensor], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for later in (False, True):
        look(monkeypatch, later)
        texts.append(str(trained(partial(SGD, lr=0.05), bad, spoil)[-1]))
    assert texts[0] == texts[1]
    assert texts[0].startswith(what)
    assert f"at epoch {3 + bad // BATCHES}, batch {bad % BATCHES} " in texts[0]


@ways
def test_a_training_may_go_on_after_a_step_was_undone(later: bool) -> None:
    """The next training sees an optimizer as if the bad batch had never been."""
    model, optimizer, *_ = trained(partial(AdamW, lr=0.05), 2, nan)
    before = state_of(model)
    batches = make_batches(1)
    train(model, lambda epoch: batches, objective=TaskLoss(CrossEntropy()), optimizer=optimizer, steps=1)
    assert not same_state(state_of(model), before)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_only_a_gpu_without_a_scaler_looks_later() -> None:
    assert not stepping.looks_later(ComputeSettings())
    assert not stepping.needs_scaler(ComputeSettings(precision="float16"))
