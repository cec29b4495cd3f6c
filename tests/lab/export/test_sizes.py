"""Sizes that are taken are found out by running, and said."""

import pytest
import torch
from torch import Tensor

from pruning_lab.lab.export.sizes import TakenSizes, taken_sizes


def same(images: Tensor) -> list[Tensor]:
    return [images * 2]


def picky(multiple: int, least: int = 1, batch: bool = True):
    def run(images: Tensor) -> list[Tensor]:
        if any(side % multiple or side < least for side in images.shape[2:]) or (len(images) > 1 and not batch):
            raise ValueError("no")
        return same(images)

    return run


def fixed(images: Tensor) -> list[Tensor]:
    if images.shape[2:] != (32, 48):
        raise RuntimeError("no")
    return same(images)


def wide(images: Tensor) -> list[Tensor]:
    if images.shape[2] > images.shape[3]:
        raise RuntimeError("no")
    return same(images)


def wrong_elsewhere(images: Tensor) -> list[Tensor]:
    return same(images) if images.shape[2:] == (32, 48) else [images]


@pytest.mark.parametrize(
    ("run", "found", "words"),
    [
        (same, TakenSizes(None, 1, 1), "any size"),
        (picky(16), TakenSizes(None, 16, 16), "sides that are multiples of 16"),
        (picky(4, 16), TakenSizes(None, 4, 16), "sides that are multiples of 4, from 16 on"),
        (picky(1, batch=False), TakenSizes(None, 1, 1, False), "any size, one image at a time"),
        (fixed, TakenSizes((32, 48)), "32 x 48 only"),
        (wide, TakenSizes((32, 48)), "32 x 48 only"),
        (wrong_elsewhere, TakenSizes((32, 48)), "32 x 48 only"),
    ],
)
def test_what_is_taken_is_what_gives_the_same(run, found: TakenSizes, words: str) -> None:
    taken = taken_sizes(run, same, (3, 32, 48), torch.float32, 1e-4)
    assert taken == found
    assert taken.in_words() == words
