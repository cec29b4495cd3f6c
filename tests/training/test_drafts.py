"""A training that was saved and is taken up ends with the weights, rates and losses of one that went through."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import OneCycleLR

from pruning_lab.common.errors import LabError
from pruning_lab.training import loop
from pruning_lab.training.drafts import TrainingDraft
from pruning_lab.training.loop import TrainReport
from pruning_lab.training.losses import CrossEntropy
from pruning_lab.training.progress import LEAST_SECONDS, Keeper, Progress
from pruning_lab.training.recovery import BaseTraining
from pruning_lab.training.schedules import cosine
from pruning_lab.training.stepping import LookingAtOnce, LookingLater
from tests.networks.tiny import TinyNet, make_batches, same_state, state_of


class Killed(BaseException):
    """Stands for the end of a process."""


class Noisy(TinyNet):
    """Draws random numbers in each pass of training."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(image, 0.2, self.training))


SETTINGS: dict[str, dict[str, Any]] = {
    "adamw_cosine": {"optimizer": partial(AdamW, lr=0.1), "scheduler": cosine},
    "momentum_one_cycle": {"optimizer": partial(SGD, lr=0.1, momentum=0.9), "scheduler": partial(OneCycleLR, max_lr=1)},
    "plain": {"optimizer": partial(SGD, lr=0.1)},
}
STEPPERS: dict[str, Callable[..., Any]] = {"at_once": LookingAtOnce, "later": LookingLater}


def train(draft: TrainingDraft | None, dies_after: int | None = None, **settings: Any) -> tuple[nn.Module, TrainReport]:
    torch.manual_seed(1)
    model, seen = Noisy(), []

    def on_batch(loss: float) -> None:
        seen.append(loss)
        if len(seen) == dies_after:
            raise Killed

    training = BaseTraining(epochs=4, **settings)
    report = training.train(
        model, lambda epoch: make_batches(3, seed=epoch), loss=CrossEntropy(), on_batch=on_batch, draft=draft
    )
    return model, report


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_training_that_died_ends_as_if_it_had_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, stepper: str
) -> None:
    monkeypatch.setattr(loop, "stepper_for", STEPPERS[stepper])
    whole, report = train(None, **SETTINGS[name])
    draft = TrainingDraft(tmp_path / "draft", every=2)
    with pytest.raises(Killed):
        train(draft, dies_after=8, **SETTINGS[name])
    (left,) = (tmp_path / "draft").iterdir()
    assert left.name in ("step_6", "step_8")
    again, told = train(draft, **SETTINGS[name])
    assert same_state(state_of(again), state_of(whole))
    for each in ("epochs", "steps", "images", "mean_loss", "learning_rate_start", "learning_rate_end"):
        assert getattr(told, each) == getattr(report, each), each


def test_a_draft_that_is_damaged_is_told_and_the_training_starts_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draft = TrainingDraft(tmp_path / "draft", every=2)
    with pytest.raises(Killed):
        train(draft, dies_after=5, **SETTINGS["plain"])
    (tmp_path / "draft" / "step_4" / "model.safetensors").write_text("x")
    again, _ = train(draft, **SETTINGS["plain"])
    assert "damaged" in caplog.text
    assert same_state(state_of(again), state_of(train(None, **SETTINGS["plain"])[0]))


def test_a_disk_that_is_full_is_told_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pruning_lab.training.drafts.write_tensors", full)
    train(TrainingDraft(tmp_path / "draft", every=1), **SETTINGS["plain"])
    assert caplog.text.count("No space left") == 1
    assert not list((tmp_path / "draft").iterdir())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def progress() -> Progress:
    return Progress(0, 0, 0.0, 0.0, 0.1, 0.1)


def test_saving_by_itself_takes_a_fiftieth_of_the_time_at_most() -> None:
    clock = Clock()

    def takes_a_second(_: Progress) -> None:
        clock.now += 1.0

    keeper, saves = Keeper(takes_a_second, "auto", clock), 0
    for step in range(10_000):
        clock.now += 0.1
        if keeper.due(step):
            keeper.keep(progress())
            saves += 1
    assert 10 < saves <= 0.02 * clock.now
    assert not Keeper(takes_a_second, "auto", clock).due(1)
    assert LEAST_SECONDS >= 5


@pytest.mark.parametrize(("every", "due"), [(3, [3, 6, 9]), (None, []), (1, list(range(1, 10)))])
def test_a_number_is_of_steps_and_null_is_never(every: int | None, due: list[int]) -> None:
    keeper = Keeper(lambda _: None, every)
    assert [step for step in range(1, 10) if keeper.due(step)] == due


@pytest.mark.parametrize("every", [0, -1, "often", 1.5])
def test_what_is_no_pace_is_refused(every: Any) -> None:
    with pytest.raises(LabError, match="save_every"):
        Keeper(lambda _: None, every)
