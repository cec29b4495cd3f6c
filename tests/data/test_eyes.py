"""Drawn eyes: the same for the same numbers, varied, and with masks that fit the picture."""

import numpy as np
import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.data import Eyes
from pruning_lab.data.eyes.shape import BACKGROUND, IRIS, PUPIL, SCLERA, random_shape

FEW = {"size": (48, 64), "train": 6, "val": 2, "test": 2}


def test_every_image_has_the_size_asked_for():
    eyes = Eyes(size=(40, 72), train=2, val=1, test=1)
    image, mask = eyes.train[1]
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((40, 72, 3), np.uint8, (40, 72), np.uint8)


def test_the_same_arguments_give_the_same_pixels():
    first, second = Eyes(**FEW), Eyes(**FEW)
    for name in ("train", "val", "test"):
        for index in range(len(first.split(name))):
            for one, other in zip(first.split(name)[index], second.split(name)[index], strict=True):
                np.testing.assert_array_equal(one, other)
    assert first.fingerprint() == second.fingerprint()


def test_an_image_does_not_depend_on_how_many_there_are_or_what_was_drawn_before():
    few, many = Eyes(**FEW), Eyes(**FEW | {"train": 9}, cache_mb=0)
    many.train[8]
    np.testing.assert_array_equal(few.train[5][0], many.train[5][0])


def test_splits_seeds_and_indices_all_give_other_images():
    eyes, others = Eyes(**FEW), Eyes(**FEW, seed=1)
    images = [eyes.train[0][0], eyes.train[1][0], eyes.val[0][0], eyes.test[0][0], others.train[0][0]]
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("change", [{"seed": 1}, {"grey": 1.0}, {"noise": 0.0}, {"val": 3}, {"size": (48, 60)}])
def test_the_fingerprint_follows_every_argument(change):
    assert Eyes(**FEW | change).fingerprint() != Eyes(**FEW).fingerprint()


def test_all_classes_occur_and_nearly_every_eye_shows_all_of_them():
    eyes = Eyes(size=(48, 64), train=60, val=1, test=1)
    complete = [len(np.unique(eyes.train[index][1])) == 4 for index in range(60)]
    assert np.mean(complete) > 0.9
    assert eyes.class_names == ("background", "sclera", "iris", "pupil")


def test_the_parts_look_as_the_mask_says():
    eyes = Eyes(size=(96, 128), train=40, val=1, test=1, blur=0, noise=0, glasses=0)
    darker = []
    for index in range(40):
        image, mask = eyes.train[index]
        brightness = [np.median(image[mask == part]) for part in (PUPIL, IRIS, SCLERA) if (mask == part).any()]
        darker.append(brightness == sorted(brightness))
    assert np.mean(darker) > 0.8


def test_the_mask_holds_the_class_at_every_pixels_centre():
    shape = random_shape(np.random.default_rng(3), 96, 128)
    mask = shape.mask()
    assert ((mask == PUPIL) <= ((shape.pupil > 0) & (shape.opening > 0))).all()
    assert ((mask == BACKGROUND) == (shape.opening <= 0)).all()
    assert ((mask >= IRIS) == ((np.maximum(shape.iris, shape.pupil) > 0) & (shape.opening > 0))).all()


def test_eyes_are_closed_beyond_the_corners_of_the_lids():
    for seed in range(20):
        shape = random_shape(np.random.default_rng(seed), 48, 64)
        assert (shape.mask()[np.abs(shape.across) >= 1] == BACKGROUND).all()


def test_grey_images_have_no_colours_and_others_do():
    grey, color = Eyes(**FEW, grey=1.0).train[0][0], Eyes(**FEW, grey=0.0).train[0][0]
    assert (grey == grey[..., :1]).all()
    assert (color != color[..., :1]).any()


def test_glasses_and_makeup_change_the_picture_but_never_the_mask():
    plain, dressed = Eyes(**FEW, glasses=0, makeup=0), Eyes(**FEW, glasses=1, makeup=1)
    for index in range(6):
        assert (plain.train[index][0] != dressed.train[index][0]).any()
        np.testing.assert_array_equal(plain.train[index][1], dressed.train[index][1])


def test_labels_are_numbers_and_there_is_no_image_past_the_end():
    eyes = Eyes(**FEW)
    assert eyes.train.label(4) == "4"
    with pytest.raises(IndexError):
        eyes.train[6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 0}, r"data\.train is 0"),
        ({"grey": 1.5}, r"data\.grey is 1\.5"),
        ({"seed": -1}, r"data\.seed"),
        ({"size": [5]}, r"data\.size is \[5\]"),
    ],
)
def test_arguments_out_of_range_are_named(change, message):
    with pytest.raises(LabError, match=message):
        Eyes(**FEW | change)
