"""Operators that are told positions by a tensor: what lies along the indexed dimensions stays, all else passes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.labels import NotFollowedError
from pruning_lab.graph.tracing.rules.elementwise import united
from pruning_lab.graph.tracing.tape import Step, leaves

aten = torch.ops.aten


def pick_many(interpreter: Interpreter, step: Step, value: Labelled, dim: int, *args: Any, **kwargs: Any) -> Labelled:
    """index_select and gather along one dimension: the channels along it stay, all others pass."""
    interpreter.freeze(interpreter.axis(value, dim), "picks channels by position")
    return Labelled(step.shapes, {d: row for d, row in value.axes.items() if d != dim % value.ndim})


def index(interpreter: Interpreter, step: Step, value: Labelled, indices: list[Labelled | None]) -> Labelled:
    """x[:, :, i, j]: what is indexed stays; what is not passes, in front of the index's dimensions or behind them."""
    return Labelled(step.shapes, _indexed(interpreter, value, indices, len(step.shapes)))


def _indexed(interpreter: Interpreter, value: Labelled, indices: list[Labelled | None], rank: int) -> dict[int, Tensor]:
    """The axes that are left of a value, at the places where they are then.

    Raises:
        NotFollowedError: where a mask of several dimensions is the index, places are not followed.
    """
    along = [dim for dim, one in enumerate(indices) if one is not None]
    if rank - (value.ndim - len(along)) != max((one.ndim for one in indices if one is not None), default=0):
        raise NotFollowedError("indexed by a mask")
    for dim in along:
        interpreter.freeze(interpreter.axis(value, dim), "picks channels by position")
    rest = [dim for dim in range(value.ndim) if dim not in along]
    together = along == list(range(along[0], along[-1] + 1))
    first = along[0] if together else 0
    new = rank - len(rest)
    return {
        place if place < first else place + new: value.axes[dim] for place, dim in enumerate(rest) if dim in value.axes
    }


def put(
    interpreter: Interpreter,
    step: Step,
    value: Labelled,
    indices: list[Labelled | None],
    given: Labelled,
    *args: Any,
) -> Labelled:
    """x[:, :, i] = y, or x[x > 0] = a number."""
    given_indices = [one for one in indices if one is not None]
    if len(given_indices) == 1 and given_indices[0].shape == value.shape and math.prod(given.shape) == 1:
        return united(interpreter, value.shape, value, given_indices[0])
    rank = value.ndim - len(given_indices) + max(one.ndim for one in given_indices)
    axes = _indexed(interpreter, value, indices, rank)
    shape = [1] * max(0, rank - given.ndim) + list(given.shape)
    for place, row in axes.items():
        shape[place] = len(row)
    united(interpreter, tuple(shape), Labelled(tuple(shape), axes), given)
    return value


def gathered(
    interpreter: Interpreter, step: Step, value: Labelled, dim: int, places: Labelled, *args: Any, **kwargs: Any
) -> Labelled:
    """gather: along one dimension elements are picked by position, along the others places and values meet."""
    return _aligned(interpreter, step.shapes, dim, value, places)


def scattered(
    interpreter: Interpreter, step: Step, value: Labelled, dim: int, places: Labelled, *args: Any, **kwargs: Any
) -> Labelled:
    """scatter and its kin, index_add, index_copy and index_fill: the result is as large as what is written into."""
    others = [one for one in leaves((places, args, kwargs), Labelled) if one.ndim == value.ndim]
    return _aligned(interpreter, step.shapes, dim, value, *others)


def _aligned(interpreter: Interpreter, shape: tuple[int, ...], dim: int, *values: Labelled) -> Labelled:
    """Values of one rank that meet along all dimensions but one; where their sizes differ, labels stay."""
    dim %= len(shape)
    operands = []
    for value in values:
        for place, row in value.axes.items():
            if place == dim or value.shape[place] != shape[place]:
                interpreter.freeze(row, "picks channels by position")
        kept = {d: row for d, row in value.axes.items() if d != dim and value.shape[d] == shape[d]}
        sizes = tuple(1 if d == dim else size for d, size in enumerate(value.shape))
        operands.append(Labelled(sizes, kept, loose=value.loose - {dim}))
    result = united(interpreter, tuple(1 if d == dim else size for d, size in enumerate(shape)), *operands)
    return Labelled(shape, result.axes)


RULES: dict[object, Rule] = {
    aten.index.Tensor: index,
    aten._unsafe_index.Tensor: index,
    aten.index_put.default: put,
    aten.index_select.default: pick_many,
    aten.gather.default: gathered,
    aten.scatter.src: scattered,
    aten.scatter.value: scattered,
    aten.scatter.reduce: scattered,
    aten.scatter.value_reduce: scattered,
    aten.scatter_add.default: scattered,
    aten.scatter_reduce.two: scattered,
    aten.index_add.default: scattered,
    aten.index_copy.default: scattered,
    aten.index_fill.int_Scalar: scattered,
    aten.index_fill.int_Tensor: scattered,
}
