"""Padding and tiles: nothing of an image is lost, and nothing is moved."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from pruning_lab.lab.tiling import Blend, padded, places, rounded_up, starts, tile_side


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 3)])
def test_padding_reflects_as_numpy_does_and_repeats_single_pixels(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size)
    wanted = rounded_up(size, 16)
    assert wanted == (16, 16)
    edges = [(0, 0), (0, 0), (0, wanted[0] - size[0]), (0, wanted[1] - size[1])]
    expected = image.numpy()
    for axis in (2, 3):
        only = [edge if place == axis else (0, 0) for place, edge in enumerate(edges)]
        expected = np.pad(expected, only, mode="edge" if expected.shape[axis] == 1 else "reflect")
    assert np.array_equal(padded(image, wanted).numpy(), expected)


def test_an_image_that_fits_is_not_copied() -> None:
    image = torch.rand(1, 3, 8, 8)
    assert padded(image, (8, 8)) is image


@pytest.mark.parametrize(("length", "tile", "overlap"), [(5, 8, 2), (8, 8, 2), (9, 8, 2), (100, 16, 8), (17, 16, 0)])
def test_tiles_cover_a_side_and_overlap_enough(length: int, tile: int, overlap: int) -> None:
    found = starts(length, tile, overlap)
    assert found[0] == 0
    assert found[-1] == max(length - tile, 0)
    assert all(0 < later - earlier <= tile - overlap for earlier, later in pairwise(found))


@pytest.mark.parametrize(
    ("length", "side"), [(1000, 1000), (1024, 1024), (1025, 608), (1920, 1024), (2000, 768), (3000, 864)]
)
def test_tiles_are_no_larger_than_it_takes(length: int, side: int) -> None:
    assert tile_side(length, 1024, 128) == side
    assert len(starts(length, side, 128)) == len(starts(length, 1024, 128))


def test_tiles_of_one_picture_give_it_back() -> None:
    probabilities = torch.rand(3, 37, 50).softmax(0)
    blend = Blend(3, (37, 50), (16, 16), 4)
    for top, left in places((37, 50), (16, 16), 4):
        blend.add((top, left), probabilities[:, top : top + 16, left : left + 16])
    torch.testing.assert_close(blend.probabilities(), probabilities)


def test_where_tiles_differ_one_goes_over_into_the_other_without_a_jump() -> None:
    blend = Blend(1, (1, 28), (1, 16), 4)
    blend.add((0, 0), torch.zeros(1, 1, 16))
    blend.add((0, 12), torch.ones(1, 1, 16))
    row = blend.probabilities()[0, 0]
    assert row[:12].eq(0).all()
    assert row[16:].eq(1).all()
    torch.testing.assert_close(row[12:16], torch.tensor([0.2, 0.4, 0.6, 0.8]))
