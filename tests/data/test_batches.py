"""Bytes that are normalized where they arrive give the numbers that they give here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from pruning_lab.data import Augmentation, Loaders, batches
from pruning_lab.data.batches import Normalizer, SplitBatches, Stack, stacked
from tests.data.fakes import array_data

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def stored(images: int = 4, dtype: torch.dtype = torch.uint8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 6, 8, 3), generator=generator)
    mask = torch.randint(5, (images, 6, 8), generator=generator).to(torch.uint8)
    return (pixels.to(dtype) if dtype == torch.uint8 else (pixels / 255).to(dtype)), mask


def same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(map(torch.equal, one, other))


def test_pixels_are_normalized_channel_by_channel() -> None:
    images, masks = stored()
    pixels, labels = Normalizer(MEAN, STD)(images, masks)
    expected = (images.double() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(pixels.double(), expected.permute(0, 3, 1, 2), rtol=1e-5, atol=1e-5)
    assert (pixels.dtype, pixels.is_contiguous(), labels.dtype) == (torch.float32, True, torch.int64)
    assert torch.equal(labels, masks.long())


def test_images_that_are_scaled_already_are_normalized_to_the_same() -> None:
    normalize = Normalizer(MEAN, STD)
    of_bytes, _ = normalize(*stored())
    of_floats, _ = normalize(*stored(dtype=torch.float32))
    torch.testing.assert_close(of_floats, of_bytes, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_what_is_stored_is_not_written_into(dtype: torch.dtype, channels: int) -> None:
    images, masks = stored(dtype=dtype)
    images = images[..., :channels].contiguous()
    before = images.clone(), masks.clone()
    Normalizer(MEAN[:channels], STD[:channels])(images, masks)
    assert same((images, masks), before)


def test_a_stack_is_a_sequence_and_gives_the_same_on_a_device() -> None:
    whole = [stored(4), stored(2)]
    stack = Stack(whole, Normalizer(MEAN, STD))
    assert len(stack) == 2
    assert same(stack[1], list(stack)[1])
    assert len(stack[:1]) == 1
    assert all(map(same, stack, stack.on(CPU)))
    assert all(map(same, stack.on(CPU), stack.on(CPU)))


class Asked:
    """A loader that counts how often it was gone through."""

    def __init__(self) -> None:
        self.batches = [stored(4), stored(2)]
        self.passes = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.passes += 1
        return iter(self.batches)


@pytest.mark.parametrize(("room", "passes"), [(10_000, 1), (100, 3), (0, 3)])
def test_a_split_stays_on_a_device_that_has_room_for_it(
    room: int, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "room", lambda device: room)
    loader = Asked()
    split = SplitBatches(lambda device_type: loader, Normalizer(MEAN, STD))
    rounds = [list(split.on(CPU)) for _ in range(3)]
    assert loader.passes == passes
    expected = list(split)
    for found in rounds:
        assert all(map(same, found, expected))
        assert len(found) == 2


def test_a_pass_that_was_left_early_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "room", lambda device: 10_000)
    loader = Asked()
    split = SplitBatches(lambda device_type: loader, Normalizer(MEAN, STD))
    next(split.on(CPU))
    assert len(list(split.on(CPU))) == 2
    assert loader.passes == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_in_one_go_are_the_epochs_one_by_one(workers: int) -> None:
    made = Loaders(array_data(10), Augmentation([{"name": "HorizontalFlip", "p": 0.5}]), batch_size=4, workers=workers)
    single = [batch for epoch in (3, 4, 5) for batch in made.train_loader(epoch)]
    onward = list(made.train_loader(3).onward(7, CPU))
    assert len(onward) == 7
    assert all(map(same, onward, single[:7]))
    assert len(made.train_loader(3)) == 3


def test_two_epochs_may_be_gone_through_at_the_same_time() -> None:
    made = Loaders(array_data(10), Augmentation([]), batch_size=4, workers=0)
    alone = [list(made.train_loader(epoch)) for epoch in (0, 1)]
    pairs = list(zip(made.train_loader(0), made.train_loader(1), strict=True))
    for number in (0, 1):
        assert all(map(same, [pair[number] for pair in pairs], alone[number]))


def test_a_stack_of_arrays_is_stored_as_it_came() -> None:
    pairs = [(np.full((2, 3, 3), value, np.uint8), np.full((2, 3), value, np.uint8)) for value in (1, 2)]
    images, masks = stacked(pairs)
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (2, 2, 3, 3))
    assert (masks.dtype, masks.unique().tolist()) == (torch.uint8, [1, 2])
