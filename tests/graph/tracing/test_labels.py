"""Labels: what is tied is one component, what meets a fixed value is frozen with its reason."""

import pytest
import torch

from pruning_lab.graph.tracing.labelled import Labelled, gather_axis
from pruning_lab.graph.tracing.labels import FIXED, LabelSpace


def test_tied_labels_are_one_component() -> None:
    space = LabelSpace()
    one, other, alone = space.fresh(3), space.fresh(3), space.fresh(1)
    space.tie(one, other, "")
    component = space.components()
    assert component[one.numpy()].tolist() == component[other.numpy()].tolist()
    assert len(set(component[one.numpy()].tolist())) == 3
    assert component[int(alone)] not in component[one.numpy()]


def test_ties_are_transitive() -> None:
    space = LabelSpace()
    one, two, three = space.fresh(1), space.fresh(1), space.fresh(1)
    space.tie(one, two, "")
    space.tie(two, three, "")
    assert len(set(space.components()[[int(one), int(two), int(three)]].tolist())) == 1


def test_what_is_tied_to_a_fixed_value_is_frozen_and_not_tied_further() -> None:
    space = LabelSpace()
    one, other = space.fresh(2), space.fresh(2)
    space.tie(one, torch.full((2,), FIXED), "an input")
    space.tie(other, torch.full((2,), FIXED), "padding")
    component = space.components()
    assert component[int(one[0])] != component[int(other[0])]
    frozen = space.frozen_components(component)
    assert frozen[component[int(one[1])]] == "an input"
    assert frozen[component[int(other[1])]] == "padding"


def test_the_first_reason_stays() -> None:
    space = LabelSpace()
    one = space.fresh(1)
    space.freeze(one, "first")
    space.freeze(one, "second")
    assert list(space.frozen_components(space.components()).values()) == ["first"]


def test_rows_of_different_lengths_cannot_be_tied() -> None:
    space = LabelSpace()
    with pytest.raises(ValueError, match="2 labels can't be tied to 3"):
        space.tie(space.fresh(2), space.fresh(3), "")


def test_an_axis_is_found_where_labels_vary() -> None:
    value = Labelled((2, 3, 4), {1: torch.tensor([5, 6, 7])})
    moved = value.spread(1).permute(1, 0, 2).reshape(3, 8)
    found = gather_axis(moved, lambda rows: rows[0])
    assert found is not None
    assert found[0] == 0
    assert found[1].tolist() == [5, 6, 7]


def test_labels_that_vary_along_two_axes_are_tied_along_one() -> None:
    tied = []

    def tie_rows(rows: torch.Tensor) -> torch.Tensor:
        tied.extend(rows.tolist())
        return rows[0]

    value = Labelled((1, 4), {1: torch.tensor([1, 2, 3, 4])})
    found = gather_axis(value.spread(1).reshape(1, 2, 2), tie_rows)
    assert found is not None
    assert found[0] == 2
    assert tied == [[1, 2], [3, 4]]


def test_a_constant_has_no_axis() -> None:
    assert gather_axis(torch.zeros(2, 3, dtype=torch.int64), lambda rows: rows[0]) is None
