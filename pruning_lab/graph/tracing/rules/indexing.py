"""Operators that take channels by their place: parts, slices, single ones; a cut moves the places.

Parts of equal length can lose the same positions. Where lengths differ, a number or a list of numbers must be held
somewhere; such channels are suspects, part by part, and only a trial shows whether they can be cut.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule, result_shapes
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.rules.shapes import execute

aten = torch.ops.aten


def split(interpreter: Interpreter, node: fx.Node, value: Labelled, sizes: Any, dim: int = 0) -> list[Labelled]:
    """Equal parts lose the same positions, so that they stay equal; unequal ones must be held somewhere as a list."""
    shapes = result_shapes(node)
    dim %= value.ndim
    row = interpreter.axis(value, dim)
    lengths = [shape[dim] for shape in shapes]
    if dim in value.axes:
        if len(set(lengths)) == 1:
            interpreter.tie_rows(row.reshape(len(lengths), -1))
        elif node.target not in _SIZES_LISTED:
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
    node: fx.Node,
    value: Labelled,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Labelled:
    """x[start:end:step]: equal parts lose the same positions; of others, each side of a bound is a suspect."""
    dim %= value.ndim
    shape = result_shapes(node)
    axes = dict(value.axes)
    if dim in axes and 0 < shape[dim] < value.shape[dim]:
        row = axes[dim]
        axes[dim] = row[slice(start, end, step)]
        first, last, _ = slice(start, end).indices(len(row))
        length = last - first
        if step > 1 and len(row) % step == 0 and first < step and last == len(row):
            interpreter.tie_rows(row.reshape(-1, step).T)
        elif step > 1:
            interpreter.freeze(row, "picks channels by position")
        elif len(row) % length == 0 and first % length == 0:
            interpreter.tie_rows(row.reshape(-1, length))
            interpreter.suspect(row, (row,), (axes[dim],))
        else:
            interpreter.suspect(row[:first], (row[:first],), (row,))
            interpreter.suspect(row[first:last], (axes[dim],), (row[:last],))
            interpreter.suspect(row[last:])
    return Labelled(shape, axes)


def pick(interpreter: Interpreter, node: fx.Node, value: Labelled, dim: int = 0, *args: Any) -> Any:
    """select and unbind: a single place along a labelled dimension must stay where it is."""
    interpreter.freeze(interpreter.axis(value, dim), "picks single channels by position")
    rest = Labelled(value.shape, {d: row for d, row in value.axes.items() if d != dim % value.ndim})
    return execute(interpreter, node, rest, dim, *args)


def gated_halves(interpreter: Interpreter, node: fx.Node, value: Labelled, dim: int = -1) -> Labelled:
    """GLU: one half times the sigmoid of the other; both lose the same positions."""
    dim %= value.ndim
    axes = dict(value.axes)
    if dim in axes:
        axes[dim] = interpreter.tie_rows(axes[dim].reshape(2, -1))
    return Labelled(result_shapes(node), axes)


def pick_many(
    interpreter: Interpreter, node: fx.Node, value: Labelled, dim: int, *args: Any, **kwargs: Any
) -> Labelled:
    """index_select and gather along one dimension: the channels along it stay, all others pass."""
    interpreter.freeze(interpreter.axis(value, dim), "picks channels by position")
    return Labelled(result_shapes(node), {d: row for d, row in value.axes.items() if d != dim % value.ndim})


def index(interpreter: Interpreter, node: fx.Node, value: Labelled, indices: list[Labelled | None]) -> Labelled:
    """x[:, :, i]: one index with one dimension leaves all dimensions in place; anything else is not followed."""
    given = [(dim, one) for dim, one in enumerate(indices) if one is not None]
    if len(given) == 1 and given[0][1].ndim == 1:
        return pick_many(interpreter, node, value, given[0][0])
    interpreter.freeze(value.labels(), "picks elements by position")
    return Labelled(result_shapes(node))


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
    aten.index.Tensor: index,
    aten.index_select.default: pick_many,
    aten.slice.Tensor: cut_out,
}
