import time

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.resources.latency import LatencyPlan, measure_in_turns, measure_latency


class Recorder(nn.Module):
    """Sleeps as long as it is told at each call, and remembers in which modes it was called."""

    def __init__(self, pauses: list[float]) -> None:
        super().__init__()
        self.inner = nn.Dropout()
        self.pauses = pauses
        self.calls: list[tuple[bool, bool, bool]] = []

    def forward(self, image: Tensor) -> Tensor:
        time.sleep(self.pauses[len(self.calls) % len(self.pauses)])
        self.calls.append((self.training, self.inner.training, torch.is_inference_mode_enabled()))
        return image


def test_the_median_ignores_an_outlier_and_the_warmup() -> None:
    model = Recorder([0.2, 0.01, 0.01, 0.01, 0.01, 0.2])
    latency = measure_latency(model, torch.zeros(2, 3, 8, 8), warmup=1, repeats=5)
    assert len(model.calls) == 6
    assert 0.01 <= latency.median_s < 0.1
    assert latency.low_s <= latency.median_s <= latency.high_s
    assert latency.high_s > 0.1
    assert (latency.device, latency.batch) == ("cpu", 2)


def test_the_model_runs_in_evaluation_and_inference_mode_and_gets_its_flags_back() -> None:
    model = Recorder([0.0])
    model.train()
    model.inner.eval()
    measure_latency(model, torch.zeros(1, 3, 8, 8), repeats=2)
    assert set(model.calls) == {(False, False, True)}
    assert (model.training, model.inner.training) == (True, False)


def test_the_flags_come_back_when_the_model_fails() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout())
    with pytest.raises(RuntimeError):
        measure_latency(model, torch.zeros(1, 5, 8, 8))
    assert model[1].training


def test_a_model_of_several_inputs_gets_them_all() -> None:
    class Sum(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return left + right

    assert measure_latency(Sum(), (torch.zeros(4, 1), torch.zeros(4, 1))).batch == 4


def test_an_accelerator_is_waited_for_before_each_reading_of_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: events.append("wait"))

    def run(image: Tensor) -> Tensor:
        events.append("run")
        return image

    model = nn.Module()
    model.forward = run  # type: ignore[method-assign]
    measure_latency(model, torch.zeros(1, device="meta"), warmup=0, repeats=2)
    assert events == ["wait", "run", "wait"] * 2


def test_one_repeat_has_no_range() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        measure_latency(nn.Identity(), torch.zeros(1, 1), repeats=1)


def test_models_take_turns_so_that_a_slow_spell_hits_all_alike() -> None:
    order: list[str] = []

    def forward(model: nn.Module, image: Tensor) -> None:
        order.append(type(model).__name__)
        time.sleep(0.02 if len(order) > 6 else 0.002)

    one, other = measure_in_turns([nn.ReLU(), nn.GELU()], torch.zeros(1, 1), warmup=1, repeats=5, forward=forward)
    assert order == ["ReLU", "GELU"] * 6
    assert one.median_s >= 0.02
    assert other.median_s >= 0.02


def test_each_of_several_models_gets_its_flags_back() -> None:
    models = [nn.Dropout().train(), nn.Dropout().eval()]
    measure_in_turns(models, torch.zeros(1, 1), repeats=2)
    assert [model.training for model in models] == [True, False]


def test_a_plan_is_due_every_so_many_steps_or_only_on_demand() -> None:
    assert [step for step in range(7) if LatencyPlan(every=3).is_due(step)] == [0, 3, 6]
    assert not any(LatencyPlan().is_due(step) for step in range(7))


@pytest.mark.parametrize("wrong", [{"every": -1}, {"batches": []}, {"batches": [0]}, {"warmup": -1}, {"repeats": 1}])
def test_mistakes_in_a_plan_are_told_in_one_line(wrong: dict) -> None:
    with pytest.raises(LabError, match=rf"latency\.{next(iter(wrong))}") as caught:
        LatencyPlan(**wrong)
    assert "\n" not in str(caught.value)
