"""What every data set promises."""

from dataclasses import replace

import numpy as np
import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.data.contract import channel_statistics, checked_size
from tests.data.fakes import ArraySplit, array_data


def test_the_fingerprint_is_the_same_for_the_same_facts():
    assert array_data().fingerprint() == array_data().fingerprint()


@pytest.mark.parametrize(
    "change",
    [{"identity": "others"}, {"mean": (0.0, 0.0, 0.0)}, {"ignore_index": 255}, {"class_names": ("x", "y")}],
)
def test_the_fingerprint_changes_with_every_fact(change):
    assert replace(array_data(), **change).fingerprint() != array_data().fingerprint()


def test_an_unknown_split_is_refused():
    with pytest.raises(LabError, match="'valid': use train, val or test"):
        array_data().split("valid")


def test_statistics_are_those_of_all_pixels_scaled_to_one():
    split = ArraySplit(12)
    mean, std = channel_statistics(split)
    pixels = split.images.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(std, pixels.std(axis=0), atol=1e-4)


def test_statistics_look_at_a_limited_number_of_images():
    split = ArraySplit(50)
    channel_statistics(split, most_images=7)
    assert split.reads == 7


def test_given_statistics_are_kept_and_nothing_is_read():
    split = ArraySplit(4)
    assert channel_statistics(split, (0.1, 0.2, 0.3), (1, 2, 0)) == ((0.1, 0.2, 0.3), (1.0, 2.0, 1e-3))
    assert split.reads == 0


def test_statistics_of_the_wrong_length_are_refused():
    with pytest.raises(LabError, match=r"data\.mean has 1 numbers"):
        channel_statistics(ArraySplit(1), [0.5], None)


@pytest.mark.parametrize("size", [128, [128], [0, 5], [96.5, 128], "ab", [1, 2, 3]])
def test_a_size_is_two_positive_whole_numbers(size):
    with pytest.raises(LabError, match=r"data\.size is"):
        checked_size(size)
