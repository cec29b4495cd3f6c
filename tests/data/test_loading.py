"""Batches depend on seed, epoch and index alone, whoever loads them and in whatever order."""

import numpy as np
import pytest
import torch

from pruning_lab.common.errors import LabError
from pruning_lab.data import Augmentation, Eyes, Loaders, loading
from tests.data.fakes import array_data

STEPS = [{"name": "HorizontalFlip", "p": 0.5}, {"name": "GaussNoise", "p": 1}]


def loaders(train: int = 10, ignore_index: int | None = None, steps: list = STEPS, **options) -> Loaders:
    return Loaders(array_data(train, ignore_index), Augmentation(steps), **options)


def same(one, other) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)


def test_a_batch_is_normalized_images_and_whole_masks():
    made = loaders(batch_size=4)
    images, masks = next(iter(made.eval_loader("train")))
    assert (images.dtype, images.shape, images.is_contiguous()) == (torch.float32, (4, 3, 6, 8), True)
    assert (masks.dtype, masks.shape) == (torch.int64, (4, 6, 8))
    image, mask = made.data.train[1]
    expected = (image / 255 - np.array(made.data.mean)) / np.array(made.data.std)
    np.testing.assert_allclose(images[1], expected.transpose(2, 0, 1), atol=1e-5)
    np.testing.assert_array_equal(masks[1], mask)


@pytest.mark.parametrize(("split", "count"), [("train", 10), ("val", 3), ("test", 5)])
def test_evaluation_sees_every_image_once_in_order_and_unchanged(split, count):
    made = loaders(batch_size=4)
    masks = torch.cat([mask for _, mask in made.eval_loader(split)])
    assert len(masks) == count
    np.testing.assert_array_equal(masks, made.data.split(split).masks)
    assert same(made.eval_loader(split), made.eval_loader(split))


def test_an_epoch_holds_every_image_once_in_another_order_than_the_next():
    made = loaders(steps=[], batch_size=3, train=9)
    epochs = [torch.cat([masks for _, masks in made.train_loader(epoch)]) for epoch in range(2)]
    for epoch in epochs:
        assert sorted(mask.numpy().tobytes() for mask in epoch) == sorted(
            mask.astype(np.int64).tobytes() for mask in made.data.train.masks
        )
    assert not torch.equal(*epochs)


def test_an_epoch_is_the_same_however_the_run_came_to_it():
    straight, resumed = loaders(batch_size=4), loaders(batch_size=4)
    for epoch in range(3):
        list(straight.train_loader(epoch))
    next(iter(resumed.train_loader(7)))
    assert same(straight.train_loader(3), resumed.train_loader(3))
    assert not same(straight.train_loader(3), straight.train_loader(4))


def test_epochs_may_be_asked_for_in_any_order():
    made = loaders(batch_size=4)
    early, late = made.train_loader(0), made.train_loader(5)
    assert same(late, loaders(batch_size=4).train_loader(5))
    assert same(early, loaders(batch_size=4).train_loader(0))


def test_the_seed_changes_order_and_augmentation():
    assert not same(loaders(batch_size=4).train_loader(0), loaders(batch_size=4, seed=1).train_loader(0))


def test_augmentation_changes_from_epoch_to_epoch():
    made = loaders(train=2, batch_size=2)
    images = [np.sort(next(iter(made.train_loader(epoch)))[0].flatten()) for epoch in (0, 1)]
    assert not np.array_equal(*images)


@pytest.mark.parametrize(
    ("train", "batch_size", "sizes"),
    [(9, 4, [4, 4]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1]), (3, 4, [3])],
)
def test_a_last_batch_of_one_image_is_left_out_of_training(train, batch_size, sizes):
    epoch = loaders(train=train, batch_size=batch_size).train_loader(0)
    assert [len(images) for images, _ in epoch] == sizes
    assert len(epoch) == len(sizes)


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_nothing_but_the_time(workers):
    data = Eyes(size=(24, 32), train=9, val=3, test=2)
    augmentation = Augmentation(STEPS)
    alone, helped = (Loaders(data, augmentation, batch_size=4, workers=number) for number in (0, workers))
    next(iter(helped.train_loader(0)))
    for epoch in (0, 1, 0):
        assert same(alone.train_loader(epoch), helped.train_loader(epoch))
    assert same(alone.eval_loader("val"), helped.eval_loader("val"))


def test_scoring_looks_at_the_same_unchanged_training_images_each_time():
    made = loaders(batch_size=4, score_images=6)
    batches = made.score_batches()
    assert [len(images) for images, _ in batches] == [4, 2]
    assert same(batches, made.score_batches())
    assert same(batches, loaders(batch_size=4).score_batches(6))
    assert not same(batches, loaders(batch_size=4, seed=1).score_batches(6))
    known = {mask.astype(np.int64).tobytes() for mask in made.data.train.masks}
    seen = [mask.numpy().tobytes() for _, masks in batches for mask in masks]
    assert set(seen) <= known
    assert len(set(seen)) == 6


def test_scoring_uses_all_images_if_there_are_fewer():
    assert sum(len(images) for images, _ in loaders().score_batches(1000)) == 10


def test_a_picture_shows_what_training_sees():
    made = loaders(batch_size=4)
    samples = made.sample_picture_data(3)
    images, masks = next(iter(made.train_loader(0)))
    assert len(samples) == 3
    for place, (image, mask) in enumerate(samples):
        assert (image.dtype, image.shape, mask.dtype) == (np.uint8, (6, 8, 3), np.uint8)
        np.testing.assert_array_equal(masks[place], mask)
        expected = (image / 255 - np.array(made.data.mean)) / np.array(made.data.std)
        np.testing.assert_allclose(images[place], expected.transpose(2, 0, 1), atol=1e-5)


@pytest.mark.parametrize(("ignore_index", "fill"), [(None, 0), (255, 255)])
def test_new_pixels_at_borders_do_not_count_where_the_data_can_say_so(ignore_index, fill):
    shift = [{"name": "Affine", "translate_px": {"x": 3, "y": 0}, "p": 1}]
    (_, mask), *_ = loaders(ignore_index=ignore_index, steps=shift).sample_picture_data(1)
    assert (mask[:, :3] == fill).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"loader\.batch_size is 0: give 1 or more"),
        ({"workers": -1}, r"loader\.workers is -1"),
        ({"workers": "many"}, r"loader\.workers is many: give a number of processes, or auto"),
        ({"score_images": 0}, r"loader\.score_images is 0"),
        ({"seed": -3}, "seed is -3"),
    ],
)
def test_numbers_out_of_range_are_named(options, message):
    with pytest.raises(LabError, match=message):
        loaders(**options)


def test_an_unknown_split_is_named():
    with pytest.raises(LabError, match="'training': use train, val or test"):
        loaders().eval_loader("training")


@pytest.mark.parametrize(
    ("workers", "device", "cores", "expected"),
    [
        ("auto", "cpu", 16, 0),
        ("auto", "cuda", 2, 0),
        ("auto", "cuda", 3, 2),
        ("auto", "cuda", 64, 8),
        (1, "cpu", 1, 1),
        (0, "cuda", 16, 0),
    ],
)
def test_workers_are_started_by_themselves_where_they_pay(workers, device, cores, expected, monkeypatch):
    monkeypatch.setattr(loading, "share", lambda: cores)
    assert loaders(workers=workers)._workers_for(device) == expected


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_split_that_is_in_memory_needs_no_workers_of_its_own(monkeypatch):
    monkeypatch.setattr(loading, "share", lambda: 4)
    data = Eyes(size=(24, 32), train=4, val=3, test=2)
    made = Loaders(data, Augmentation([]), batch_size=2)
    assert made._split_loader("val", "cpu").num_workers == 0
    assert made._train_loader("cuda").num_workers == 3
    assert made._split_loader("val", "cuda").num_workers == 0
    forgetful = Eyes(size=(24, 32), train=4, val=3, test=2, cache_mb=0)
    assert Loaders(forgetful, Augmentation([]), batch_size=2)._split_loader("val", "cuda").num_workers == 3
