"""Rows of group ids: filtering all at once is filtering each."""

import copy

import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning_lab.graph.structure.id_rows import Remaining, Rows


@given(st.data())
def test_filtering_at_once_is_filtering_one_by_one(data: st.DataObject) -> None:
    removed = data.draw(st.lists(st.booleans(), min_size=1, max_size=8))
    ids = st.integers(-1, len(removed) - 1)
    rows = [torch.tensor(row, dtype=torch.int64) for row in data.draw(st.lists(st.lists(ids, max_size=9), max_size=6))]
    new_ids = {old: new for new, old in enumerate(i for i, gone in enumerate(removed) if not gone)} | {-1: -1}
    left = Remaining(torch.tensor(removed), [*rows, *rows])
    for row in rows:
        old = row.tolist()
        expected = [new_ids[i] for i in old if i in new_ids]
        assert left(row).tolist() == expected
        assert left.length(row) == len(expected)
        assert left.places(row).tolist() == [place for place, i in enumerate(old) if i in new_ids]
        assert left.gaps(row).tolist() == [place for place, i in enumerate(old) if i not in new_ids]


def test_no_rows_are_no_trouble() -> None:
    assert Remaining(torch.tensor([True, False]), []).ids.tolist() == [-1, 0, -1]


def test_traced_rows_lead_to_what_several_cuts_left_of_them() -> None:
    first, second = torch.tensor([0, 1, 2, 3]), torch.tensor([-1, 3, 2])
    rows = Rows([first, second, first])
    rows = rows.left_by(Remaining(torch.tensor([True, False, False, False]), rows.now))
    rows = rows.left_by(Remaining(torch.tensor([False, True, False]), rows.now))
    assert rows(first).tolist() == [0, 1]
    assert rows(second).tolist() == [-1, 1]
    assert rows.length(second) == 2
    assert {name: row.tolist() for name, row in rows.of({"layer": first}).items()} == {"layer": [0, 1]}


def test_copied_rows_know_the_copies() -> None:
    row = torch.tensor([0, 1])
    rows = Rows([row])
    rows = rows.left_by(Remaining(torch.tensor([True, False]), rows.now))
    copied_row, copied = copy.deepcopy((row, rows))
    assert copied_row is not row
    assert copied(copied_row).tolist() == [0]
