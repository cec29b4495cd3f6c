"""Training on a GPU: no step waits for it, what was not finite is undone, and every precision learns."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.training import stepping
from pruning_lab.training.compute import ComputeSettings, random_state, seed_everything, set_random_state
from pruning_lab.training.distillation import Attention, Features, Several, SoftTargets, objective_of
from pruning_lab.training.loop import NonFiniteLossError, TaskLoss, train
from pruning_lab.training.losses import cross_entropy_dice
from pruning_lab.training.schedules import cosine
from tests.gpu.conftest import waits
from tests.networks.tiny import TinyNet, make_batches, same_state, state_of

pytestmark = pytest.mark.gpu

LOSS = cross_entropy_dice(class_weights=[1.0, 2.0], ignore_index=255)
OPTIMIZERS = {
    "momentum": partial(SGD, lr=0.05, momentum=0.9),
    "adamw": partial(AdamW, lr=0.01),
    "fused": partial(AdamW, lr=0.01, fused=True),
}
Batches = list[tuple[Tensor, Tensor]]


def on_gpu(batches: Batches) -> Batches:
    return [(image.cuda(), mask.cuda()) for image, mask in batches]


def learn(model: nn.Module, batches: Batches, settings: ComputeSettings, epochs: float = 1, **changes: Any) -> float:
    settings.place(model)
    arguments = {"optimizer": AdamW(model.parameters(), lr=0.01), "objective": TaskLoss(LOSS, settings)} | changes
    return train(model, lambda epoch: batches, settings=settings, epochs=epochs, **arguments).mean_loss


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_every_precision_and_layout_learns(precision: str, channels_last: bool) -> None:
    torch.manual_seed(0)
    model, settings = TinyNet(width=8), ComputeSettings("cuda", precision, channels_last, clip_norm=5.0)
    first = learn(model, make_batches(), settings)
    assert learn(model, make_batches(), settings, epochs=15) < first / 2
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert model.conv.weight.is_contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )


def test_it_learns_what_a_cpu_learns(full_float32: None) -> None:
    states = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = TinyNet()
        learn(model, make_batches(), ComputeSettings(device), optimizer=SGD(model.parameters(), lr=0.05))
        states.append({name: value.cpu() for name, value in model.state_dict().items()})
    torch.testing.assert_close(*states, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("distilled", [False, True])
def test_no_step_waits_for_the_gpu(precision: str, distilled: bool) -> None:
    settings = ComputeSettings("cuda", precision, clip_norm=1.0)
    base = settings.place(TinyNet(width=8))
    graph = ChannelGraph.trace(base, torch.zeros(1, 3, 8, 8, device="cuda"))
    method = Several({"soft": SoftTargets(), "maps": Attention(["conv"]), "same": Features(["conv"])})

    sets = {steps: on_gpu(make_batches(steps)) for steps in (2, 12)}

    def run(steps: int) -> None:
        model = copy.deepcopy(base)
        objective = objective_of(method if distilled else None, LOSS, base, model, graph, settings)
        optimizer = AdamW(model.parameters())
        train(
            model,
            lambda epoch: sets[steps],
            objective=objective,
            optimizer=optimizer,
            scheduler=cosine,
            epochs=1,
            settings=settings,
        )

    run(2)
    assert waits(lambda: run(12)) == waits(lambda: run(2))


def test_waits_are_seen() -> None:
    number = torch.ones(1, device="cuda")
    assert waits(number.item) == 1


class Watched:
    """Spoils the loss of one batch, and keeps what model and optimizer held before it."""

    def __init__(self, optimizer: torch.optim.Optimizer, bad: int, spoil: Callable[[Tensor], Tensor]) -> None:
        self.optimizer, self.bad, self.spoil, self.seen = optimizer, bad, spoil, 0

    def __call__(self, model: nn.Module, image: Tensor, mask: Tensor) -> Tensor:
        if self.seen == self.bad:
            self.state, self.memory = state_of(model), copy.deepcopy(self.optimizer.state_dict())
        loss = LOSS(model(image), mask)
        self.seen += 1
        return self.spoil(loss) if self.seen == self.bad + 1 else loss


@pytest.mark.parametrize("spoil", [lambda loss: loss * math.nan, lambda loss: loss + (loss * 0).sqrt()])
@pytest.mark.parametrize("bad", [0, 3, 5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_that_was_not_finite_is_undone_bit_for_bit(
    name: str, bad: int, spoil: Callable[[Tensor], Tensor]
) -> None:
    settings = ComputeSettings("cuda")
    assert stepping.looks_later(settings)
    model = settings.place(TinyNet())
    optimizer = OPTIMIZERS[name](model.parameters())
    watched = Watched(optimizer, bad, spoil)
    with pytest.raises(NonFiniteLossError, match=rf"at epoch {bad // 3}, batch {bad % 3} "):
        learn(model, make_batches(3), settings, epochs=2, optimizer=optimizer, objective=watched, scheduler=cosine)
    assert same_state(state_of(model), watched.state)
    after = optimizer.state_dict()
    assert after["param_groups"] == watched.memory["param_groups"]
    assert after["state"].keys() == watched.memory["state"].keys()
    for parameter, entry in watched.memory["state"].items():
        assert all(torch.equal(item, after["state"][parameter][key]) for key, item in entry.items())


def test_float16_skips_what_its_scale_made_infinite_and_stops_at_a_loss_that_is_not_finite() -> None:
    settings = ComputeSettings("cuda", "float16")
    batches = make_batches(3)
    learn(TinyNet(), [(image * 100, mask) for image, mask in batches], settings, epochs=3)
    batches[2][0][0, 0, 0, 0] = math.inf
    model = TinyNet()
    with pytest.raises(NonFiniteLossError, match="batch 2 "):
        learn(model, batches, settings)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_random_states_of_the_gpu_come_back_from_json() -> None:
    seed_everything(3)
    torch.rand(5, device="cuda")
    state = json.loads(json.dumps(random_state()))
    assert len(state["cuda"]) == torch.cuda.device_count()
    drop = nn.Dropout().cuda()
    ones = torch.ones(100, device="cuda")
    expected = drop(ones), torch.randn(7, device="cuda"), torch.rand(3)
    seed_everything(0)
    set_random_state(state)
    for one, other in zip((drop(ones), torch.randn(7, device="cuda"), torch.rand(3)), expected, strict=True):
        assert torch.equal(one, other)


def test_a_model_and_its_optimizer_are_cut_where_they_are_and_train_on() -> None:
    settings = ComputeSettings("cuda")
    model = settings.place(TinyNet(width=8))
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8, device="cuda"))
    optimizer = AdamW(model.parameters(), lr=0.01)
    learn(model, make_batches(), settings, optimizer=optimizer)
    moments = optimizer.state[model.conv.weight]["exp_avg"].clone()
    removed = graph.layers["conv"][[1, 4]].tolist()
    cut(model, graph, removed, optimizer)
    left = [0, 2, 3, 5, 6, 7]
    assert model.conv.weight.device.type == "cuda"
    assert model.conv.weight.shape[0] == model.norm.running_mean.shape[0] == 6
    assert torch.equal(optimizer.state[model.conv.weight]["exp_avg"], moments[left])
    assert math.isfinite(learn(model, make_batches(), settings, optimizer=optimizer))
