"""Images are kept while they fit, and read again past that."""

import numpy as np
import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.data.cache import BYTES_PER_MB, Cached, MemoryBudget
from tests.data.fakes import ArraySplit

BYTES_OF_A_PAIR = 6 * 8 * 4


def cached(count: int, pairs_that_fit: float) -> Cached:
    return Cached(ArraySplit(count), MemoryBudget(pairs_that_fit * BYTES_OF_A_PAIR / BYTES_PER_MB))


def test_what_fits_is_read_once():
    split = cached(3, pairs_that_fit=3)
    for _ in range(4):
        [split[index] for index in range(3)]
    assert split.source.reads == 3


def test_what_does_not_fit_is_read_each_time():
    split = cached(3, pairs_that_fit=2.9)
    for _ in range(4):
        [split[index] for index in range(3)]
    assert split.source.reads == 2 + 4


def test_a_budget_is_shared_by_all_splits_that_have_it():
    budget = MemoryBudget(BYTES_OF_A_PAIR / BYTES_PER_MB)
    first, second = Cached(ArraySplit(1), budget), Cached(ArraySplit(1), budget)
    for split in (first, second, first, second):
        split[0]
    assert (first.source.reads, second.source.reads) == (1, 2)


@pytest.mark.parametrize("pairs_that_fit", [0, 60, 200])
def test_reading_all_gives_the_pairs_in_order(pairs_that_fit):
    split = cached(150, pairs_that_fit)
    split[7]
    for index, (image, mask) in enumerate(split.read_all()):
        np.testing.assert_array_equal(image, split.source.images[index])
        np.testing.assert_array_equal(mask, split.source.masks[index])
    assert index == 149


def test_filling_stops_soon_after_the_budget_is_spent():
    split = cached(1000, pairs_that_fit=10)
    split.fill()
    assert split.source.reads <= 64


def test_what_is_kept_can_not_be_changed():
    image, mask = cached(1, pairs_that_fit=1)[0]
    with pytest.raises(ValueError, match="read-only"):
        image[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        mask[:] = 0


def test_a_negative_limit_is_refused():
    with pytest.raises(LabError, match=r"data\.cache_mb is -1"):
        MemoryBudget(-1)
