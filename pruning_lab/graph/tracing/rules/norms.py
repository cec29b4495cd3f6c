"""Normalizations, softmax and reductions: some work channel by channel, some mix the channels."""

from __future__ import annotations

from typing import Any

import torch

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.tape import Step

aten = torch.ops.aten


def per_channel(
    interpreter: Interpreter, step: Step, image: Labelled, *tensors: Labelled | None, **kwargs: Any
) -> Labelled:
    """Batch and instance norm: weight, bias, running mean and variance belong to the channels of dimension 1."""
    channels = interpreter.axis(image, 1)
    interpreter.counted_channels.setdefault(interpreter.module_path, channels)
    for tensor in tensors:
        if isinstance(tensor, Labelled):
            interpreter.meet(channels, tensor, 0)
    return image


def group_norm(
    interpreter: Interpreter,
    step: Step,
    image: Labelled,
    groups: int,
    weight: Labelled | None = None,
    bias: Labelled | None = None,
    *args: Any,
) -> Labelled:
    """Every group of channels loses the same positions, so that the groups stay equal.

    Where each channel is a group of its own, it leaves with its group, and the number of groups follows.
    """
    channels = interpreter.axis(image, 1)
    if groups == len(channels):
        interpreter.counted_norms.setdefault(interpreter.module_path, channels)
        interpreter.suspect(channels, (channels,))
    else:
        interpreter.tie_rows(channels.reshape(groups, -1))
        interpreter.space.mix(channels, f"{interpreter.place} normalizes over channels")
    return per_channel(interpreter, step, image, weight, bias)


def layer_norm(
    interpreter: Interpreter,
    step: Step,
    image: Labelled,
    normalized_shape: list[int],
    weight: Labelled | None = None,
    bias: Labelled | None = None,
    *args: Any,
) -> Labelled:
    for place in range(len(normalized_shape)):
        dim = image.ndim - len(normalized_shape) + place
        row = interpreter.axis(image, dim)
        interpreter.space.mix(row, f"{interpreter.place} normalizes over channels")
        for tensor in (weight, bias):
            if tensor is not None:
                interpreter.tie(row, interpreter.axis(tensor, place))
        if weight is not None and interpreter.owns(weight):
            interpreter.note_sizes(row, (row,))
        else:
            interpreter.suspect(row, (row,))
    return image


def softmax(interpreter: Interpreter, step: Step, image: Labelled, dim: int, *args: Any) -> Labelled:
    row = interpreter.axis(image, dim)
    interpreter.space.mix(row, f"{interpreter.place} normalizes over channels")
    return image


def reduction(
    interpreter: Interpreter,
    step: Step,
    image: Labelled,
    dims: Any = None,
    keepdim: Any = False,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """mean, sum, max over dimensions. Over channels it is a normalization: it is then taken over those left."""
    shapes = step.shapes
    shape = shapes if isinstance(shapes, tuple) else shapes[0]
    dims = kwargs.get("dim", dims)
    listed = range(image.ndim) if dims is None or dims == [] else dims if isinstance(dims, list) else [dims]
    gone = {dim % image.ndim for dim in listed} if image.ndim else set()
    for dim in gone:
        interpreter.space.mix(interpreter.axis(image, dim), f"{interpreter.place} reduces over channels")
    kept = [dim for dim in range(image.ndim) if dim not in gone]
    places = kept if len(shape) == image.ndim else range(len(kept))
    axes = {place: image.axes[dim] for place, dim in zip(places, kept, strict=True) if dim in image.axes}
    result = Labelled(shape, axes)
    return result if isinstance(shapes, tuple) else [result] * len(shapes)


def vector_norm(
    interpreter: Interpreter,
    step: Step,
    image: Labelled,
    order: Any = 2,
    dims: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """The norm over dimensions; its order comes before them."""
    return reduction(interpreter, step, image, dims, *args, **kwargs)


def of_rank(
    interpreter: Interpreter, step: Step, image: Labelled, rank: int, dim: int = -1, keepdim: bool = False
) -> Any:
    """The k-th value along a dimension: among fewer channels it is another one."""
    interpreter.freeze(interpreter.axis(image, dim), "depends on the number of channels")
    return reduction(interpreter, step, image, dim, keepdim)


def largest(interpreter: Interpreter, step: Step, image: Labelled, number: int, dim: int = -1, *args: Any) -> Any:
    """The k largest along a dimension."""
    interpreter.freeze(interpreter.axis(image, dim), "depends on the order of the channels")
    axes = {place: row for place, row in image.axes.items() if place != dim % image.ndim}
    return [Labelled(shape, axes) for shape in step.shapes]


def sorted_along(interpreter: Interpreter, step: Step, image: Labelled, *args: Any, **kwargs: Any) -> Any:
    """A sort whose dimension goes by its name."""
    return over_one(interpreter, step, image, kwargs.get("dim", -1))


def over_one(interpreter: Interpreter, step: Step, image: Labelled, dim: int = -1, *args: Any, **kwargs: Any) -> Any:
    """cumsum, sort and their like along channels: the order matters, so the channels stay."""
    interpreter.freeze(interpreter.axis(image, dim), "depends on the order of the channels")
    shapes = step.shapes
    return image if isinstance(shapes, tuple) else [image] * len(shapes)


def position_of(
    interpreter: Interpreter, step: Step, image: Labelled, dim: int | None = None, *args: Any, **kwargs: Any
) -> Labelled:
    """argmax over channels tells their positions, so they stay."""
    listed = range(image.ndim) if dim is None else [dim]
    for one in listed:
        interpreter.freeze(interpreter.axis(image, one), "tells the position of a channel")
    return reduction(interpreter, step, image, dim, *args)


def batch_norm(interpreter: Interpreter, step: Step, image: Labelled, *args: Any, **kwargs: Any) -> Labelled:
    """Where statistics are taken at run time, they are taken over all dimensions but the channels'."""
    if bool(args[4]):
        for dim, row in image.axes.items():
            if dim != 1:
                interpreter.space.mix(row, f"{interpreter.place} normalizes over channels")
    return per_channel(interpreter, step, image, *args[:4])


def weight_norm(interpreter: Interpreter, step: Step, direction: Labelled, size: Labelled, dim: int = 0) -> Labelled:
    """The weight is size x direction / norm of direction, so an input channel that leaves changes the norm."""
    for one, row in direction.axes.items():
        if one != dim % direction.ndim:
            interpreter.space.mix(row, f"{interpreter.place} takes the weight's norm over its inputs")
    interpreter.tie(interpreter.axis(direction, dim), interpreter.axis(size, dim))
    return direction


_REDUCTIONS = (
    aten.mean.dim,
    aten.mean.default,
    aten.sum.dim_IntList,
    aten.sum.default,
    aten.amax.default,
    aten.amin.default,
    aten.max.dim,
    aten.min.dim,
    aten.max.default,
    aten.min.default,
    aten.prod.dim_int,
    aten.var.correction,
    aten.var.dim,
    aten.std.correction,
    aten.std.dim,
    aten.var_mean.correction,
    aten.std_mean.correction,
    aten.logsumexp.default,
    aten.median.default,
    aten.median.dim,
    aten.nanmedian.default,
    aten.nanmedian.dim,
    aten.mode.default,
    aten.nansum.default,
    aten.aminmax.default,
    aten.any.default,
    aten.any.dim,
    aten.any.dims,
    aten.all.default,
    aten.all.dim,
    aten.all.dims,
    aten.count_nonzero.default,
    aten.count_nonzero.dim_IntList,
)

_NORMS: dict[object, Rule] = {
    aten.batch_norm.default: batch_norm,
    aten.instance_norm.default: batch_norm,
    aten.group_norm.default: group_norm,
    aten.layer_norm.default: layer_norm,
    aten.rms_norm.default: layer_norm,
    aten.softmax.int: softmax,
    aten.log_softmax.int: softmax,
    aten._weight_norm.default: weight_norm,
    aten.linalg_vector_norm.default: vector_norm,
    aten.norm.Scalar: vector_norm,
    aten.norm.ScalarOpt_dim: vector_norm,
    **dict.fromkeys(_REDUCTIONS, reduction),
}

RULES: dict[object, Rule] = {
    **_NORMS,
    aten.argmax.default: position_of,
    aten.argmin.default: position_of,
    aten.cumsum.default: over_one,
    aten.cumprod.default: over_one,
    aten.logcumsumexp.default: over_one,
    aten.cummax.default: over_one,
    aten.cummin.default: over_one,
    aten.sort.default: over_one,
    aten.sort.stable: sorted_along,
    aten.topk.default: largest,
    aten.kthvalue.default: of_rank,
}
MEETING = frozenset({aten.batch_norm.default, aten.instance_norm.default})
MIXING = frozenset(_NORMS)
