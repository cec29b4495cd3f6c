"""A user's own function as an augmentation: the seed decides all, and what it spoils is told."""

import pickle

import numpy as np
import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.data import AugmentBy, augmentation_of

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
MASK = (IMAGE[..., 0] > 30).astype(np.uint8)


def shifted(image, mask, random, most=6):
    by = int(random.integers(most))
    image[:] = np.roll(image, by, axis=1)
    return image, np.roll(mask, by, axis=1)


def halved(image, mask, random):
    return image[::2], mask[::2]


def as_floats(image, mask, random):
    return image / 255, mask


def by(name, **parameters):
    return AugmentBy(f"{__name__}.{name}", parameters).for_data((4, 6), 0)


def test_image_and_mask_change_together_as_the_seed_decides() -> None:
    pairs = [by("shifted").seeded(seed)(IMAGE, MASK) for seed in range(20)]
    for image, mask in pairs:
        assert np.array_equal(mask, image[..., 0] > 30)
    assert len({image.tobytes() for image, _ in pairs}) > 2
    again = by("shifted").seeded(7)(IMAGE, MASK)
    assert all(np.array_equal(one, other) for one, other in zip(again, pairs[7], strict=True))


def test_what_it_is_given_stays_as_it_is() -> None:
    before = IMAGE.copy()
    by("shifted").seeded(3)(IMAGE, MASK)
    assert np.array_equal(IMAGE, before)


def test_parameters_are_passed_on() -> None:
    assert np.array_equal(by("shifted", most=1).seeded(5)(IMAGE, MASK)[0], IMAGE)


def test_workers_can_be_given_it() -> None:
    change = pickle.loads(pickle.dumps(by("shifted").seeded(4)))
    assert np.array_equal(change(IMAGE, MASK)[0], by("shifted").seeded(4)(IMAGE, MASK)[0])


@pytest.mark.parametrize(("name", "told"), [("halved", r"\(2, 6, 3\)"), ("as_floats", "image from uint8.*float64")])
def test_another_size_or_type_is_told(name: str, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        by(name).seeded(0)(IMAGE, MASK)
    assert f"{__name__}.{name}" in str(caught.value)


@pytest.mark.parametrize(("path", "told"), [("no.such", "can't be imported"), (f"{__name__}.IMAGE", "not callable")])
def test_a_path_that_leads_nowhere_is_told(path: str, told: str) -> None:
    with pytest.raises(LabError, match=told):
        AugmentBy(path)


class Flipped:
    def __init__(self, chance=1.0):
        self.chance = chance

    def __call__(self, image, mask, random):
        return (image[:, ::-1], mask[:, ::-1]) if random.random() < self.chance else (image, mask)


def test_any_object_that_takes_image_mask_and_chance_is_an_augmentation():
    image, mask = np.arange(12, dtype=np.uint8).reshape(2, 2, 3), np.array([[0, 1], [1, 0]], np.uint8)
    found = augmentation_of(Flipped()).for_data((2, 2), 0).seeded(3)(image, mask)
    assert np.array_equal(found[0], image[:, ::-1])
    assert np.array_equal(found[1], mask[:, ::-1])


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (3, "augmentation._target_ builds a int"),
        (lambda image, mask, random: image, "returned a ndarray: return the image and the mask"),
        (lambda image, mask, random: (image[:1], mask), "keep both"),
    ],
)
def test_what_is_no_augmentation_is_told(thing, told):
    image, mask = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)
    with pytest.raises(LabError, match=told):
        augmentation_of(thing).seeded(0)(image, mask)
