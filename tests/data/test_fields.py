"""Drawn land: the same for the same numbers, classes thin and rare among them, and pixels that nothing counts."""

import numpy as np
import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.data import Fields
from pruning_lab.data.fields.sheet import CAR, GROUND, HOUSE, ROAD, TREE, UNLABELED, WATER, Sheet, box

FEW = {"size": (48, 64), "train": 5, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def masks():
    land = Fields(train=150, val=1, test=1, mean=(0.3, 0.3, 0.3), std=(0.2, 0.2, 0.2))
    return np.stack([land.train[index][1] for index in range(150)])


def test_every_image_has_the_size_asked_for():
    image, mask = Fields(size=(40, 72), train=2, val=1, test=1).train[1]
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((40, 72, 3), np.uint8, (40, 72), np.uint8)


def test_the_same_arguments_give_the_same_pixels():
    first, second = Fields(**FEW), Fields(**FEW)
    for name in ("train", "val", "test"):
        for index in range(len(first.split(name))):
            for one, other in zip(first.split(name)[index], second.split(name)[index], strict=True):
                np.testing.assert_array_equal(one, other)
    assert first.fingerprint() == second.fingerprint()


def test_an_image_does_not_depend_on_how_many_there_are_or_what_was_drawn_before():
    few, many = Fields(**FEW), Fields(**FEW | {"train": 9}, cache_mb=0)
    many.train[8]
    np.testing.assert_array_equal(few.train[4][0], many.train[4][0])


def test_splits_seeds_and_indices_all_give_other_images():
    land, other = Fields(**FEW), Fields(**FEW, seed=1)
    images = [land.train[0][0], land.train[1][0], land.val[0][0], land.test[0][0], other.train[0][0]]
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("change", [{"seed": 1}, {"grey": 1.0}, {"unlabeled": 0.2}, {"noise": 0.0}, {"size": (48, 60)}])
def test_the_fingerprint_follows_every_argument(change):
    assert Fields(**FEW | change).fingerprint() != Fields(**FEW).fingerprint()


def test_most_is_ground_and_cars_are_rare(masks):
    shares = {kind: float((masks == kind).mean()) for kind in (GROUND, ROAD, HOUSE, TREE, WATER, CAR)}
    assert 0.5 < shares[GROUND] < 0.75
    assert 0.08 < shares[ROAD] < 0.2
    assert all(0.03 < shares[kind] < 0.12 for kind in (HOUSE, TREE, WATER))
    assert 0.002 < shares[CAR] < 0.01


def test_most_images_show_every_class_but_water(masks):
    shown = {kind: np.mean([(mask == kind).any() for mask in masks]) for kind in (ROAD, HOUSE, TREE, WATER, CAR)}
    assert min(shown[kind] for kind in (ROAD, HOUSE, TREE, CAR)) > 0.85
    assert 0.5 < shown[WATER] < 0.95


def test_the_share_without_a_label_is_the_one_asked_for(masks):
    assert (masks == UNLABELED).mean() == pytest.approx(0.06, abs=0.02)
    assert set(np.unique(masks)) == {GROUND, ROAD, HOUSE, TREE, WATER, CAR, UNLABELED}


def test_labels_are_left_out_where_they_would_be_and_nothing_else_changes():
    full, part = Fields(**FEW, unlabeled=0.0), Fields(**FEW, unlabeled=0.3)
    assert part.ignore_index == UNLABELED
    hidden = 0
    for index in range(5):
        image, mask = part.train[index]
        np.testing.assert_array_equal(image, full.train[index][0])
        np.testing.assert_array_equal(mask[mask != UNLABELED], full.train[index][1][mask != UNLABELED])
        hidden += int((mask == UNLABELED).sum())
    assert hidden > 0
    assert all(UNLABELED not in full.train[index][1] for index in range(5))


def test_a_pixel_has_the_class_of_its_center_and_the_color_of_its_whole():
    sheet = Sheet(10, 20, shadow=(1, 0))
    sheet.fill(box(np.array([4.0, 3.0]), 0.0, 4.0, 2.0), HOUSE, (1.0, 0.5, 0.0))
    mask = sheet.mask()
    assert (mask == HOUSE).sum() == 3 * 5  # places 2 to 6 across and 2 to 4 down, rims included
    assert mask[3, 4] == HOUSE
    np.testing.assert_allclose(sheet.picture()[3, 4], (1.0, 0.5, 0.0))
    assert 0 < sheet.picture()[3, 6, 0] < 1


def test_shadows_that_lie_over_each_other_are_as_dark_as_one():
    sheet = Sheet(8, 8, shadow=(1, 0))
    sheet.colors[:] = 1.0
    sheet.shade([box(np.array([4.0, 4.0]), 0.0, 4.0, 4.0), box(np.array([5.0, 4.0]), 0.0, 4.0, 4.0)], 0.5)
    assert set(np.unique(sheet.colors)) == {np.float32(0.5), np.float32(1.0)}
    sheet.shade([box(np.array([-40.0, 4.0]), 0.0, 4.0, 4.0)], 0.5)  # off the sheet
    assert set(np.unique(sheet.colors)) == {np.float32(0.5), np.float32(1.0)}


def test_grey_images_have_no_colors():
    grey, color = Fields(**FEW, grey=1.0).train[0][0], Fields(**FEW, grey=0.0).train[0][0]
    assert (grey == grey[..., :1]).all()
    assert (color != color[..., :1]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 0}, r"data\.train is 0"),
        ({"unlabeled": 1.5}, r"data\.unlabeled is 1\.5"),
        ({"seed": -1}, r"data\.seed"),
        ({"size": [5]}, r"data\.size is \[5\]"),
    ],
)
def test_arguments_out_of_range_are_named(change, message):
    with pytest.raises(LabError, match=message):
        Fields(**FEW | change)
