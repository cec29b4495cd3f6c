"""Operators that move elements without changing them: they are executed on the labels as they are."""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

import torch
from torch import Tensor

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule
from pruning_lab.graph.tracing.labelled import Labelled, gather_axis, varying
from pruning_lab.graph.tracing.labels import FIXED, NotFollowedError
from pruning_lab.graph.tracing.tape import Step

aten = torch.ops.aten


def execute(interpreter: Interpreter, step: Step, value: Labelled, *args: Any, **kwargs: Any) -> Any:
    """Run the operator itself on each dimension's labels, and see along which dimension the result varies."""
    shapes = step.shapes
    single = isinstance(shapes, tuple)
    axes: list[dict[int, Tensor]] = [{} for _ in ([shapes] if single else shapes)]
    keep = 1 if step.target in _KEEP_CHANNELS else interpreter.choices.get(step)
    run = _COPYING.get(step.target, step.target)
    for dim in value.axes:
        try:
            results = run(value.spread(dim), *args, **kwargs)
        except RuntimeError as error:
            raise NotFollowedError(f"{step.target} does not run on labels") from error
        for place, result in enumerate([results] if single else results):
            along = varying(result)
            if len(along) > 1 and step.target in _SIZE_HELD and _aligned(value.shape, dim, tuple(result.shape)):
                interpreter.splits[step] = tuple(along)
            found = gather_axis(result, interpreter.tie_rows, keep)
            if found is None:
                found = _single_channel(value.axes[dim], value.shape, dim, tuple(result.shape))
            if found is not None:
                if found[0] in axes[place]:
                    interpreter.freeze(found[1], "merges its dimension with another one's channels")
                else:
                    axes[place][found[0]] = found[1]
    values = [
        Labelled(shape, found, loose=_repeated(value, shape) if step.target in _REPEATING else frozenset())
        for shape, found in zip([shapes] if single else shapes, axes, strict=True)
    ]
    if step.target in _SIZE_HELD and any(_resized(value, result) for result in values):
        rows = [(row,) for one in (value, *values) for row in one.axes.values()]
        shaped = [tuple(one.axes.get(dim, size) for dim, size in enumerate(one.shape)) for one in values]
        interpreter.suspect(value.labels(), *rows, *shaped, *(sizes[1:] for sizes in shaped))
    return values[0] if single else values


def _aligned(before: tuple[int, ...], dim: int, after: tuple[int, ...]) -> bool:
    """Whether a dimension becomes whole dimensions of the new shape; else others' elements come between its own."""
    outer = list(itertools.accumulate(after, operator.mul, initial=1))
    begins = math.prod(before[:dim])
    return begins in outer and begins * before[dim] in outer


def _repeated(before: Labelled, after: tuple[int, ...]) -> frozenset[int]:
    """Dimensions along which one value is repeated, or all were alike already."""
    new = len(after) - before.ndim
    return frozenset(
        dim
        for dim, size in enumerate(after)
        if size > 1 and (dim < new or before.shape[dim - new] == 1 or dim - new in before.loose)
    )


def _single_channel(
    row: Tensor, before: tuple[int, ...], dim: int, after: tuple[int, ...]
) -> tuple[int, Tensor] | None:
    """One channel alone leaves no trace in the labels; it stays where it was if the dimensions did not move."""
    if before[dim] == 1 and len(before) == len(after) and after[dim] == 1:
        return dim, row
    return None


def _resized(before: Labelled, after: Labelled) -> bool:
    """Whether a labelled dimension was split, merged or moved by an operator that is given sizes."""
    return bool(before.axes) and before.shape != after.shape


def concatenate(interpreter: Interpreter, step: Step, tensors: list[Labelled], dim: int = 0) -> Labelled:
    """Labels follow each other along `dim`, and meet along all other dimensions."""
    shape = step.shapes
    dim %= len(shape)
    parts = [tensor for tensor in tensors if tensor.ndim == len(shape)]
    axes = {}
    for other in range(len(shape)):
        if not any(other in part.axes for part in parts):
            continue
        if other == dim:
            axes[other] = _in_a_row(interpreter, parts, dim)
            continue
        rows = [interpreter.axis(part, other) for part in parts]
        for row in rows[1:]:
            interpreter.tie(rows[0], row)
        axes[other] = next(part.axes[other] for part in parts if other in part.axes)
    return Labelled(shape, axes)


def _in_a_row(interpreter: Interpreter, parts: list[Labelled], dim: int) -> Tensor:
    """Labels of parts along the dimension in which they follow each other.

    Zeros of a given size, as a padded shortcut has them, are channels that leave with what they meet.
    """
    rows, added = [], []
    for part in parts:
        if dim in part.loose and dim not in part.axes:
            added.append(interpreter.space.fresh(part.shape[dim]))
            rows.append(added[-1])
        else:
            rows.append(interpreter.axis(part, dim))
    whole = torch.cat(rows)
    for row in added:
        interpreter.suspect(row, (row,), (whole,))
    return whole


def stack(interpreter: Interpreter, step: Step, tensors: list[Labelled], dim: int = 0) -> Labelled:
    """Labels meet along all dimensions; the new one has none."""
    shape = step.shapes
    dim %= len(shape)
    axes = {}
    for other in range(len(shape) - 1):
        if any(other in part.axes for part in tensors):
            rows = [interpreter.axis(part, other) for part in tensors]
            for row in rows[1:]:
                interpreter.tie(rows[0], row)
            axes[other + (other >= dim)] = next(part.axes[other] for part in tensors if other in part.axes)
    return Labelled(shape, axes)


def pad(
    interpreter: Interpreter, step: Step, value: Labelled, amounts: list[int], mode: Any = 0, *args: Any
) -> Labelled:
    """Padding by a number adds channels of its own: they leave with what they meet, where the amounts can follow.

    Cropping by a negative amount takes labels away.
    """
    axes: dict[int, Tensor] = {}
    suspects: list[tuple[Tensor, list[tuple[Tensor | int, ...]]]] = []
    parts: list[Tensor | int] = list(amounts)
    for dim, row in value.axes.items():
        place = 2 * (value.ndim - 1 - dim)
        before, after = amounts[place : place + 2] if place < len(amounts) else (0, 0)
        if min(before, after) < 0 or ((before or after) and isinstance(mode, str) and mode != "constant"):
            interpreter.freeze(row, "crops or repeats it at a fixed place")
            axes[dim] = torch.nn.functional.pad(row, (before, after), value=FIXED)
        elif before or after:
            front, back = interpreter.space.fresh(before), interpreter.space.fresh(after)
            axes[dim] = torch.cat([front, row, back])
            parts[place : place + 2] = [front, back]
            suspects += [(row, [(row,), (axes[dim],)]), (front, [(front,)]), (back, [(back,)])]
        else:
            axes[dim] = row
    for labels, sizes in suspects:
        interpreter.suspect(labels, *sizes, tuple(parts))
    return Labelled(step.shapes, axes)


def channel_shuffle(interpreter: Interpreter, step: Step, value: Labelled, groups: int) -> Labelled:
    """Groups of channels are dealt out in turn; they lose the same positions, so that they stay equal."""
    interpreter.tie_rows(interpreter.axis(value, 1).reshape(groups, -1))
    return execute(interpreter, step, value, groups)


def like_other(interpreter: Interpreter, step: Step, value: Labelled, other: Labelled) -> Any:
    """expand_as, view_as: the other's shape is a size that is not held by anyone."""
    shape = list(step.shapes)
    moved = _LIKE[step.target]
    axes: dict[int, Tensor] = {}
    for dim in value.axes:
        found = gather_axis(moved(value.spread(dim), shape), interpreter.tie_rows)
        if found is not None:
            axes[found[0]] = found[1]
    for dim in set(axes) & set(other.axes):
        interpreter.tie(axes[dim], other.axes[dim])
    loose = _repeated(value, tuple(shape)) if step.target in _REPEATING else frozenset()
    axes.update({dim: other.axes[dim] for dim in loose & set(other.axes)})
    return Labelled(tuple(shape), axes, loose=loose - set(axes))


def patches(
    interpreter: Interpreter, step: Step, image: Labelled, kernel: list[int], *args: Any, **kwargs: Any
) -> Labelled:
    """im2col: every channel becomes as many channels as the kernel has places."""
    axes = {0: image.axes[0]} if 0 in image.axes else {}
    if 1 in image.axes:
        axes[1] = image.axes[1].repeat_interleave(math.prod(kernel))
    return Labelled(step.shapes, axes)


def from_patches(
    interpreter: Interpreter, step: Step, columns: Labelled, size: list[int], kernel: list[int], *args: Any
) -> Labelled:
    """col2im: the places of a kernel are one channel again."""
    axes = {0: columns.axes[0]} if 0 in columns.axes else {}
    if 1 in columns.axes:
        axes[1] = interpreter.tie_rows(columns.axes[1].reshape(-1, math.prod(kernel)).T)
    return Labelled(step.shapes, axes)


_KEEP_CHANNELS = {
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
}
_LIKE: dict[object, Any] = {
    aten.expand_as.default: aten.expand.default,
    aten.view_as.default: aten.reshape.default,
    aten.reshape_as.default: aten.reshape.default,
}
_COPYING: dict[object, Any] = {
    aten.view.default: aten.reshape.default,
    aten._unsafe_view.default: aten.reshape.default,
}
_SIZE_HELD = {
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.unflatten.int,
    aten.expand.default,
    aten.broadcast_to.default,
    aten.repeat.default,
    aten.tile.default,
    aten.pixel_shuffle.default,
}
_REPEATING = {
    aten.expand.default,
    aten.expand_as.default,
    aten.broadcast_to.default,
    aten.repeat.default,
    aten.tile.default,
}
_EXECUTED = (
    aten.permute.default,
    aten.transpose.int,
    aten.t.default,
    aten.numpy_T.default,
    aten.mT.default,
    aten.adjoint.default,
    aten.movedim.int,
    aten.movedim.intlist,
    aten.moveaxis.int,
    aten.swapaxes.default,
    aten.swapdims.default,
    aten.unfold.default,
    aten.ravel.default,
    aten.flatten.using_ints,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
    aten.roll.default,
    aten.flip.default,
    aten.rot90.default,
    aten.diagonal.default,
    aten.repeat_interleave.self_int,
    *_SIZE_HELD,
    *_KEEP_CHANNELS,
)

RULES: dict[object, Rule] = {
    **dict.fromkeys(_EXECUTED, execute),
    aten.channel_shuffle.default: channel_shuffle,
    aten.im2col.default: patches,
    aten.col2im.default: from_patches,
    aten.expand_as.default: like_other,
    aten.view_as.default: like_other,
    aten.reshape_as.default: like_other,
    aten.cat.default: concatenate,
    aten.concat.default: concatenate,
    aten.stack.default: stack,
    aten.pad.default: pad,
    aten.constant_pad_nd.default: pad,
}
