"""Two processes that share each batch do what one does with the whole of it."""

import copy
import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.models import UNet
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.distillation import SoftTargets, objective_of
from pruning_lab.training.loop import NonFiniteLossError, Objective, TaskLoss, train
from pruning_lab.training.losses import cross_entropy_dice
from pruning_lab.training.ranks import team
from pruning_lab.training.schedules import cosine
from tests.networks.tiny import state_of

pytest.importorskip("lightning_fabric")
pytestmark = pytest.mark.slow


class Epochs:
    """Batches of 6 images, and a last one of 3; float64, with pixels that do not count."""

    def __call__(self, epoch: int) -> list[tuple[Tensor, Tensor]]:
        draw = torch.Generator().manual_seed(epoch)
        sizes = (6, 6, 3)
        images = [torch.randn(size, 3, 16, 16, dtype=torch.float64, generator=draw) for size in sizes]
        masks = [torch.randint(0, 3, (size, 16, 16), generator=draw) for size in sizes]
        for mask in masks:
            mask[0, :9] = 255
        return list(zip(images, masks, strict=True))


class Spoilt(nn.Module):
    """A network that fails on the second rank."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.layer = how, nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        if os.environ.get("RANK") == "1":
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError("of its own")
        result: Tensor = self.layer(image)
        return result


class Same:
    """One batch, again and again."""

    def __init__(self, value: float = 0.0, images: int = 4) -> None:
        self.value, self.images = value, images

    def __call__(self, epoch: int) -> list[tuple[Tensor, Tensor]]:
        mask = torch.zeros(self.images, 8, 8, dtype=torch.int64)
        return [(torch.full((self.images, 3, 8, 8), self.value), mask)]


def settings(devices: int = 2, clip_norm: float | None = None) -> ComputeSettings:
    return ComputeSettings("cpu", clip_norm=clip_norm, devices=devices)


def loss() -> TaskLoss:
    return TaskLoss(cross_entropy_dice(ignore_index=255))


@pytest.fixture(scope="module", autouse=True)
def _ranks_end() -> Iterator[None]:
    yield
    team.dismiss()


def taught() -> Objective:
    """The loss, and the soft targets of a base."""
    torch.manual_seed(1)
    base = UNet(in_channels=3, classes=3, width=4, depth=2).double()
    graph = ChannelGraph.trace(copy.deepcopy(base).float(), torch.zeros(1, 3, 16, 16))
    return objective_of(SoftTargets(), loss().loss, base, base, graph, ComputeSettings())


@pytest.mark.parametrize("objective", [loss, taught])
@pytest.mark.parametrize("optimizer", [partial(SGD, lr=0.1, momentum=0.9), partial(AdamW, lr=1e-2)])
def test_weights_statistics_and_losses_are_those_of_one_process(optimizer, objective) -> None:
    torch.manual_seed(0)
    alone = UNet(in_channels=3, classes=3, width=4, depth=2).double()
    shared = copy.deepcopy(alone)
    reports = [
        train(
            model,
            Epochs(),
            objective=objective(),
            optimizer=optimizer(model.parameters()),
            scheduler=cosine,
            epochs=2,
            settings=settings(devices, clip_norm=0.5),
        )
        for model, devices in ((alone, 1), (shared, 2))
    ]
    assert [report.images for report in reports] == [30, 30]
    assert reports[1].losses == pytest.approx(reports[0].losses, rel=1e-9)
    assert list(state_of(shared)) == list(state_of(alone))
    for name, tensor in state_of(alone).items():
        torch.testing.assert_close(state_of(shared)[name], tensor, rtol=1e-7, atol=1e-9, msg=name)


def test_nothing_of_the_wrapper_is_left_behind() -> None:
    torch.manual_seed(0)
    model = UNet(in_channels=3, classes=3, width=4, depth=2).double()
    train(model, Epochs(), objective=loss(), optimizer=SGD(model.parameters(), lr=0.1), steps=1, settings=settings())
    assert not any("forward" in vars(module) for module in model.modules())
    copied = copy.deepcopy(model).train()
    image, mask = Epochs()(0)[0]
    gradients = []
    for each in (model.train(), copied):
        each.zero_grad()
        loss()(each, image, mask).backward()
        gradients.append([parameter.grad for parameter in each.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_a_training_that_can_not_go_on_ends_as_it_does_alone() -> None:
    model = nn.Conv2d(3, 3, 1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(NonFiniteLossError, match="the loss is nan at epoch 0, batch 0"):
        train(
            model,
            Same(torch.nan),
            objective=loss(),
            optimizer=SGD(model.parameters(), lr=1),
            steps=1,
            settings=settings(),
        )
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("how", "why"), [("raised", "ZeroDivisionError: of its own"), ("killed", "it was ended by SIGKILL")]
)
def test_a_rank_that_fails_ends_all_with_its_reason(how: str, why: str) -> None:
    model = Spoilt(how)
    with pytest.raises(LabError, match=f"process 2 of devices=2 failed: {why}"):
        train(model, Same(), objective=loss(), optimizer=SGD(model.parameters(), lr=1), steps=1, settings=settings())
    assert team._team is None


def test_a_batch_that_has_no_image_for_a_rank_is_named() -> None:
    model = nn.Conv2d(3, 3, 1)
    with pytest.raises(
        LabError, match=r"a batch of 1 images can't be split over devices=2; take another loader\.batch"
    ):
        train(
            model,
            Same(images=1),
            objective=loss(),
            optimizer=SGD(model.parameters(), lr=1),
            steps=1,
            settings=settings(),
        )


def test_what_can_not_be_sent_is_told() -> None:
    model = nn.Conv2d(3, 3, 1)
    with pytest.raises(LabError, match=r"devices=2: what is trained can't be sent .*define networks, losses and"):
        train(
            model,
            lambda epoch: Same()(epoch),
            objective=loss(),
            optimizer=SGD(model.parameters(), lr=1),
            steps=1,
            settings=settings(),
        )
