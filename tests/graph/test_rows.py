"""Rows of group ids: filtering all at once is filtering each."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning_lab.graph.rows import Remaining


@given(st.data())
def test_filtering_at_once_is_filtering_one_by_one(data: st.DataObject) -> None:
    removed = data.draw(st.lists(st.booleans(), min_size=1, max_size=8))
    ids = st.integers(-1, len(removed) - 1)
    rows = [torch.tensor(row, dtype=torch.int64) for row in data.draw(st.lists(st.lists(ids, max_size=9), max_size=6))]
    new_ids = {old: new for new, old in enumerate(i for i, gone in enumerate(removed) if not gone)} | {-1: -1}
    left = Remaining(torch.tensor(removed), [*rows, *rows])
    for row in rows:
        expected = [new_ids[i] for i in row.tolist() if i in new_ids]
        assert left(row).tolist() == expected
        assert left.length(row) == len(expected)


def test_no_rows_are_no_trouble() -> None:
    assert Remaining(torch.tensor([True, False]), []).ids.tolist() == [-1, 0, -1]
