from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from pruning_lab.common.errors import LabError
from pruning_lab.training.loop import TaskLoss
from pruning_lab.training.losses import CrossEntropy
from pruning_lab.training.recovery import BaseTraining, Recovery
from pruning_lab.training.schedules import linear
from tests.networks.tiny import TinyNet, make_batches

adam = partial(Adam, lr=0.01)


def heal(recovery: Recovery, model: TinyNet, optimizer, **arguments):
    return recovery.heal(
        model, optimizer, lambda epoch: make_batches(), objective=TaskLoss(CrossEntropy()), **arguments
    )


@pytest.fixture
def model() -> TinyNet:
    torch.manual_seed(0)
    return TinyNet()


@pytest.mark.parametrize("scheduler", [linear, CosineAnnealingLR, partial(OneCycleLR, max_lr=0.1)])
def test_every_recovery_starts_its_schedule_anew(model: TinyNet, scheduler) -> None:
    recovery = Recovery(adam, scheduler, epochs=1)
    optimizer = recovery.new_optimizer(model)
    first, second = heal(recovery, model, optimizer), heal(recovery, model, optimizer)
    assert first.learning_rate_end != first.learning_rate_start
    assert second.learning_rate_start == first.learning_rate_start
    assert second.learning_rate_end == first.learning_rate_end


def test_after_a_repair_it_starts_from_a_share_of_the_rate_each_time_and_no_more(model: TinyNet) -> None:
    recovery = Recovery(adam, linear, epochs=1, final_epochs=1, repaired_rate=0.25)
    optimizer = recovery.new_optimizer(model)
    plain = heal(recovery, model, optimizer).learning_rate_start
    for _ in range(2):
        assert heal(recovery, model, optimizer, repaired=True).learning_rate_start == 0.25 * plain
    assert heal(recovery, model, optimizer).learning_rate_start == plain
    assert heal(recovery, model, optimizer, repaired=True, final=True).learning_rate_start == plain


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_of_the_rate_that_is_none_is_a_mistake(share: float) -> None:
    with pytest.raises(LabError, match=r"recovery\.repaired_rate"):
        Recovery(adam, repaired_rate=share)


def test_rates_that_differ_between_parameter_groups_all_start_anew(model: TinyNet) -> None:
    optimizer = SGD([{"params": model.conv.parameters(), "lr": 0.1}, {"params": model.head.parameters()}], lr=0.5)
    recovery = Recovery(adam, partial(linear, final_fraction=0.5), epochs=1)
    for _ in range(2):
        heal(recovery, model, optimizer)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.25])


@pytest.mark.parametrize(("optimizer_state", "steps_remembered"), [("keep", 6), ("reset", 3)])
def test_the_optimizers_memory_lives_on_or_is_emptied(
    model: TinyNet, optimizer_state: str, steps_remembered: int
) -> None:
    recovery = Recovery(adam, optimizer_state=optimizer_state)
    optimizer = recovery.new_optimizer(model)
    heal(recovery, model, optimizer)
    heal(recovery, model, optimizer)
    assert optimizer.state[model.conv.weight]["step"].item() == steps_remembered


def test_the_final_recovery_has_a_length_of_its_own(model: TinyNet) -> None:
    recovery = Recovery(adam, epochs=1, steps=2, final_epochs=3)
    optimizer = recovery.new_optimizer(model)
    assert heal(recovery, model, optimizer).steps == recovery.total_steps(3) == 2
    assert heal(recovery, model, optimizer, final=True).steps == recovery.total_steps(3, final=True) == 9


def test_no_recovery_takes_no_step(model: TinyNet) -> None:
    recovery = Recovery(adam, linear, epochs=0, final_epochs=0)
    optimizer = recovery.new_optimizer(model)
    assert heal(recovery, model, optimizer).steps == 0
    assert heal(recovery, model, optimizer, final=True).steps == 0


def test_it_trains_the_parameters_that_the_model_has_now(model: TinyNet) -> None:
    recovery = Recovery(adam)
    optimizer = recovery.new_optimizer(model)
    before = model.conv.weight.detach().clone()
    heal(recovery, model, optimizer)
    assert not torch.equal(model.conv.weight, before)


def test_an_unknown_optimizer_state_is_named() -> None:
    with pytest.raises(LabError, match=r"recovery\.optimizer_state=forget"):
        Recovery(adam, optimizer_state="forget")


def test_the_base_is_trained_for_its_epochs_or_steps(model: TinyNet) -> None:
    for base, steps in ((BaseTraining(adam, epochs=2), 6), (BaseTraining(adam, epochs=2, steps=4), 4)):
        report = base.train(model, lambda epoch: make_batches(), loss=CrossEntropy())
        assert report.steps == base.total_steps(3) == steps


def test_the_final_recovery_may_start_from_a_rate_of_its_own(model: TinyNet) -> None:
    recovery = Recovery(adam, epochs=1, final_epochs=1, final_learning_rate=0.125)
    optimizer = recovery.new_optimizer(model)
    own = heal(recovery, model, optimizer).learning_rate_start
    assert heal(recovery, model, optimizer, final=True).learning_rate_start == 0.125 != own
