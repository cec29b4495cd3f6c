"""Operators that take channels by their place: parts, slices, single ones; a cut moves the places.

Parts of equal length can lose the same positions. Where lengths differ, a number or a list of numbers must be held
somewhere; such channels are suspects, part by part, and only a trial shows whether they can be cut.
"""

from __future__ import annotations

from typing import Any

import torch

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.rules.shapes import execute
from pruning_lab.graph.tracing.tape import Step

aten = torch.ops.aten


def split(interpreter: Interpreter, step: Step, value: Labelled, sizes: Any, dim: int = 0) -> list[Labelled]:
    """Equal parts lose the same positions, so that they stay equal; unequal ones must be held somewhere as a list."""
    shapes = step.shapes
    dim %= value.ndim
    row = interpreter.axis(value, dim)
    lengths = [shape[dim] for shape in shapes]
    if dim in value.axes:
        if len(set(lengths)) == 1:
            interpreter.tie_rows(row.reshape(len(lengths), -1))
        elif step.target not in _SIZES_LISTED:
            interpreter.freeze(row, "splits it into unequal parts")
        parts = row.split(lengths)
        interpreter.suspect(parts[0], (row,), (parts[0],), parts)
        for part in parts[1:]:
            interpreter.suspect(part)
    results = []
    for shape, part in zip(shapes, row.split(lengths), strict=True):
        axes = {**value.axes, **({dim: part} if dim in value.axes else {})}
        results.append(Labelled(shape, axes))
    return results


def cut_out(
    interpreter: Interpreter,
    step: Step,
    value: Labelled,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    every: int = 1,
) -> Labelled:
    """x[start:end:every]: equal parts lose the same positions; of others, each side of a bound is a suspect.

    A single place stays where it is, and so does what lies between it and the end from which it is counted.
    """
    dim %= value.ndim
    shape = step.shapes
    axes = dict(value.axes)
    if dim in axes and 0 < shape[dim] < value.shape[dim]:
        row = axes[dim]
        axes[dim] = row[slice(start, end, every)]
        first, last, _ = slice(start, end).indices(len(row))
        length = last - first
        if every > 1 and len(row) % every == 0 and first < every and last == len(row):
            interpreter.tie_rows(row.reshape(-1, every).T)
        elif every > 1:
            interpreter.freeze(row, "picks channels by position")
        elif length == 1 < len(row):
            from_end = start is not None and start < 0
            interpreter.freeze(row[first:] if from_end else row[:last], "picks single channels by position")
            interpreter.suspect(row[:first] if from_end else row[last:])
        elif len(row) % length == 0 and first % length == 0:
            interpreter.tie_rows(row.reshape(-1, length))
            interpreter.suspect(row, (row,), (axes[dim],))
        else:
            interpreter.suspect(row[:first], (row[:first],), (row,))
            interpreter.suspect(row[first:last], (axes[dim],), (row[:last],))
            interpreter.suspect(row[last:])
    return Labelled(shape, axes, loose=value.loose)


def pick(interpreter: Interpreter, step: Step, value: Labelled, dim: int = 0, *args: Any) -> Any:
    """select and unbind: a single place along a labelled dimension must stay where it is."""
    interpreter.freeze(interpreter.axis(value, dim), "picks single channels by position")
    rest = Labelled(value.shape, {d: row for d, row in value.axes.items() if d != dim % value.ndim})
    return execute(interpreter, step, rest, dim, *args)


def gated_halves(interpreter: Interpreter, step: Step, value: Labelled, dim: int = -1) -> Labelled:
    """GLU: one half times the sigmoid of the other; both lose the same positions."""
    dim %= value.ndim
    axes = dict(value.axes)
    if dim in axes:
        axes[dim] = interpreter.tie_rows(axes[dim].reshape(2, -1))
    return Labelled(step.shapes, axes)


_SIZES_LISTED = {aten.split_with_sizes.default, aten.split.sizes}

RULES: dict[object, Rule] = {
    aten.split.Tensor: split,
    aten.split_with_sizes.default: split,
    aten.split.sizes: split,
    aten.tensor_split.sections: split,
    aten.chunk.default: split,
    aten.glu.default: gated_halves,
    aten.select.int: pick,
    aten.unbind.int: pick,
    aten.slice.Tensor: cut_out,
}
