import math
from functools import partial

import pytest
import torch
from torch.optim import SGD, AdamW

from pruning_lab.common.errors import LabError
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.loop import NonFiniteLossError, TaskLoss, total_steps, train
from pruning_lab.training.losses import CrossEntropy
from pruning_lab.training.schedules import linear
from tests.networks.tiny import TinyNet, make_batches, same_state, state_of


def run(model: TinyNet, batches=None, **arguments):
    """Trains with defaults that suit these tests."""
    batches = make_batches() if batches is None else batches
    optimizer = arguments.pop("optimizer", None) or SGD(model.parameters(), lr=0.1)
    loader = arguments.pop("loader", lambda epoch: batches)
    objective = TaskLoss(arguments.pop("loss", CrossEntropy()), arguments.get("settings") or ComputeSettings())
    return train(model, loader, objective=objective, optimizer=optimizer, **arguments)


def test_it_learns() -> None:
    torch.manual_seed(0)
    model = TinyNet()
    first = run(model, epochs=1).mean_loss
    assert run(model, epochs=10).mean_loss < first / 2


def test_the_report_counts_what_was_spent() -> None:
    seen: list[float] = []
    report = run(TinyNet(), epochs=2, on_batch=seen.append)
    assert (report.epochs, report.steps, report.images) == (2, 6, 24)
    assert report.mean_loss == pytest.approx(sum(seen) / 6)
    assert report.seconds > 0


def test_epochs_may_be_a_fraction_and_are_numbered_from_the_first() -> None:
    asked: list[int] = []

    def loader(epoch: int):
        asked.append(epoch)
        return make_batches(4)

    report = run(TinyNet(), loader=loader, epochs=1.5, first_epoch=7)
    assert (report.epochs, report.steps) == (1.5, 6)
    assert sorted(set(asked)) == [7, 8]


@pytest.mark.parametrize(
    ("epochs", "steps", "expected"),
    [(2, None, 20), (0.01, None, 1), (1.1, None, 11), (0, None, 0), (3, 7, 7), (None, 0, 0)],
)
def test_steps_stand_above_epochs(epochs: float | None, steps: int | None, expected: int) -> None:
    assert total_steps(epochs, steps, 10) == expected


@pytest.mark.parametrize(("epochs", "steps"), [(None, None), (-1, None), (math.inf, None), (1, -1)])
def test_a_length_that_makes_no_sense_is_refused(epochs: float | None, steps: int | None) -> None:
    with pytest.raises(LabError, match=r"epochs|steps"):
        total_steps(epochs, steps, 10)


def test_no_epochs_leave_the_model_as_it_is() -> None:
    model = TinyNet()
    before = state_of(model)
    report = run(model, epochs=0, scheduler=linear)
    assert same_state(state_of(model), before)
    assert report.steps == 0
    assert math.isnan(report.mean_loss)


def test_the_scheduler_moves_the_rate_at_every_step() -> None:
    report = run(TinyNet(), steps=4, scheduler=partial(linear, final_fraction=0.2))
    assert report.learning_rate_start == pytest.approx(0.1)
    assert report.learning_rate_end == pytest.approx(0.04)


def test_the_same_seed_gives_the_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        model = TinyNet()
        run(model, epochs=2, optimizer=AdamW(model.parameters()))
        states.append(state_of(model))
    assert same_state(*states)


def test_the_clip_bounds_the_gradient() -> None:
    model = TinyNet()
    before = state_of(model)
    run(model, steps=1, settings=ComputeSettings(clip_norm=1e-3), optimizer=SGD(model.parameters(), lr=1.0))
    moved = sum((after - before[name]).square().sum() for name, after in model.named_parameters())
    assert moved.sqrt().item() == pytest.approx(1e-3, rel=1e-3)


def test_channels_last_is_the_same_training_in_another_layout() -> None:
    states = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        model = TinyNet()
        run(model, steps=2, settings=ComputeSettings(channels_last=channels_last))
        states.append(state_of(model))
    assert model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(*states)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_trains_with_weights_and_loss_in_float32(precision: str) -> None:
    model, types = TinyNet(), []

    def loss(logits, mask):
        types.append(logits.dtype)
        return CrossEntropy()(logits, mask)

    run(model, steps=2, loss=loss, settings=ComputeSettings(precision=precision))
    assert types == [torch.float32] * 2
    assert all(weight.dtype == torch.float32 for weight in model.parameters())


class TestANumberThatIsNotFinite:
    @pytest.fixture
    def batches(self):
        """The third batch of three has a pixel that is infinite."""
        batches = make_batches()
        batches[2][0][0, 0, 0, 0] = math.inf
        return batches

    def test_stops_the_training_and_says_where(self, batches) -> None:
        with pytest.raises(NonFiniteLossError, match=r"loss is nan at epoch 4, batch 2 .*rate 0\.1\): lower"):
            run(TinyNet(), batches, epochs=1, first_epoch=4)

    def test_leaves_weights_and_running_statistics_as_before_that_batch(self, batches) -> None:
        torch.manual_seed(0)
        spoilt = TinyNet()
        torch.manual_seed(0)
        good = TinyNet()
        with pytest.raises(NonFiniteLossError):
            run(spoilt, batches, epochs=1)
        run(good, batches, steps=2)
        assert same_state(state_of(spoilt), state_of(good))

    def test_in_the_gradient_alone_is_seen_too(self) -> None:
        model = TinyNet()
        before = state_of(model)

        def loss(logits, mask):
            return (logits.sum() * 0).abs().sqrt()

        with pytest.raises(NonFiniteLossError, match="gradient's norm is nan"):
            run(model, steps=1, loss=loss)
        assert same_state(state_of(model), before)

    def test_is_one_line_for_the_user(self, batches) -> None:
        with pytest.raises(LabError) as caught:
            run(TinyNet(), batches, epochs=1)
        assert "\n" not in str(caught.value)


def test_an_empty_loader_is_refused() -> None:
    with pytest.raises(LabError, match="no batch"):
        run(TinyNet(), [], epochs=1)


def test_a_loader_without_a_length_is_refused() -> None:
    with pytest.raises(LabError, match="length"):
        run(TinyNet(), loader=lambda epoch: iter(make_batches()), epochs=1)
