"""What reaches a network on a GPU is what reaches it on a CPU, bit for bit, and validation waits once."""

from __future__ import annotations

import pytest
import torch

from pruning_lab.data import Augmentation, Loaders
from pruning_lab.lab.validation import Validator, confusion_matrix
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.losses import CrossEntropy
from tests.data.fakes import array_data
from tests.gpu.conftest import waits
from tests.networks.tiny import TinyNet, make_batches

pytestmark = pytest.mark.gpu

GPU = torch.device("cuda")
STEPS = [{"name": "HorizontalFlip", "p": 0.5}]


def loaders(workers: int | str) -> Loaders:
    return Loaders(array_data(10), Augmentation(STEPS), batch_size=4, workers=workers)


def same(here, there) -> bool:
    pairs = list(zip(here, there, strict=True))
    assert all(image.is_cuda and mask.is_cuda for _, (image, mask) in pairs)
    return all(torch.equal(a, c.cpu()) and torch.equal(b, d.cpu()) for (a, b), (c, d) in pairs)


@pytest.mark.parametrize("workers", [0, 2, "auto"])
def test_training_batches_are_those_of_a_cpu(workers: int | str) -> None:
    here = [batch for epoch in (2, 3) for batch in loaders(0).train_loader(epoch)]
    made = loaders(workers)
    for _ in range(2):
        assert same(here, made.train_loader(2).onward(len(here), GPU))


def test_a_split_is_loaded_once_and_then_stays() -> None:
    made = loaders(0)
    here = list(made.eval_loader("train"))
    batches = made.eval_loader("train")
    assert same(here, batches.on(GPU))
    made._made.clear()
    batches._loader = None
    assert same(here, batches.on(GPU))


def test_scoring_batches_are_those_of_a_cpu() -> None:
    stack = loaders(0).score_batches(7)
    assert same(list(stack), stack.on(GPU))


@pytest.mark.parametrize("ignore_index", [None, 255])
def test_pixels_are_counted_as_on_a_cpu(ignore_index: int | None) -> None:
    torch.manual_seed(0)
    prediction, mask = torch.randint(7, (2, 3, 64, 64)).unbind()
    if ignore_index is not None:
        mask[:, 5:9] = ignore_index
    here = confusion_matrix(prediction, mask, 7, ignore_index)
    there = confusion_matrix(prediction.cuda(), mask.cuda(), 7, ignore_index)
    assert there.dtype == torch.int64
    assert torch.equal(there.cpu(), here)


def test_a_model_scores_as_on_a_cpu(full_float32: None) -> None:
    torch.manual_seed(0)
    model = TinyNet(classes=3)
    batches = make_batches(5, classes=3)
    here, there = (
        Validator(3, "abc", loss=CrossEntropy(), settings=ComputeSettings(device)).evaluate(model, batches)
        for device in ("cpu", "cuda")
    )
    assert there == pytest.approx(here, abs=2e-3)


def test_validation_waits_for_the_gpu_at_its_end_only() -> None:
    validator = Validator(2, "ab", loss=CrossEntropy([1.0, 2.0], ignore_index=255), settings=ComputeSettings("cuda"))
    model = TinyNet().cuda()
    sets = {count: make_batches(count) for count in (2, 12)}
    placed = {count: [(image.cuda(), mask.cuda()) for image, mask in batches] for count, batches in sets.items()}
    validator.evaluate(model, placed[2])
    few, many = (waits(lambda count=count: validator.evaluate(model, placed[count])) for count in (2, 12))
    assert few == many
