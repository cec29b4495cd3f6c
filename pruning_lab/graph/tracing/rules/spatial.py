"""Pooling, resampling and padding of an image's sides: channels pass, whatever is labelled along the sides stays."""

from __future__ import annotations

from typing import Any

import torch

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.tape import Step

aten = torch.ops.aten


def sides(interpreter: Interpreter, step: Step, image: Labelled, *args: Any, **kwargs: Any) -> Any:
    """Works along the sides only. Dimensions whose size changed, or that follow a channel dimension, are sides."""
    shapes = step.shapes
    shape = shapes if isinstance(shapes, tuple) else shapes[0]
    count = _SIDES[step.target]
    first_side = image.ndim - count
    for dim, row in image.axes.items():
        if dim >= first_side:
            interpreter.freeze(row, "resamples along it")
    result = Labelled(shape, {dim: row for dim, row in image.axes.items() if dim < first_side})
    return result if isinstance(shapes, tuple) else [result] * len(shapes)


def put_back(interpreter: Interpreter, step: Step, image: Labelled, places: Labelled, *args: Any) -> Labelled:
    """Max-unpooling: each channel goes to the places that its own channel of a pooling remembers."""
    count = _UNPOOLINGS[step.target]
    axes = {}
    for dim in range(image.ndim):
        if dim >= image.ndim - count:
            for value in (image, places):
                interpreter.freeze(value.axes.get(dim, _NONE), "resamples along it")
        elif dim in image.axes or dim in places.axes:
            axes[dim] = interpreter.axis(image, dim)
            interpreter.tie(axes[dim], interpreter.axis(places, dim))
    return Labelled(step.shapes, axes)


_NONE = torch.empty(0, dtype=torch.int64)

_UNPOOLINGS: dict[object, int] = {aten.max_unpool2d.default: 2, aten.max_unpool3d.default: 3}

_SIDES: dict[object, int] = {
    aten.max_pool1d.default: 1,
    aten.max_pool2d.default: 2,
    aten.max_pool3d.default: 3,
    aten.max_pool2d_with_indices.default: 2,
    aten.avg_pool1d.default: 1,
    aten.avg_pool2d.default: 2,
    aten.avg_pool3d.default: 3,
    aten.adaptive_avg_pool1d.default: 1,
    aten.adaptive_avg_pool2d.default: 2,
    aten.adaptive_avg_pool3d.default: 3,
    aten.adaptive_max_pool1d.default: 1,
    aten.adaptive_max_pool2d.default: 2,
    aten.adaptive_max_pool3d.default: 3,
    aten.max_pool1d_with_indices.default: 1,
    aten.max_pool3d_with_indices.default: 3,
    aten.upsample_nearest1d.vec: 1,
    aten.upsample_nearest2d.vec: 2,
    aten.upsample_nearest3d.vec: 3,
    aten.upsample_nearest2d.default: 2,
    aten.upsample_linear1d.vec: 1,
    aten.upsample_bilinear2d.vec: 2,
    aten.upsample_bilinear2d.default: 2,
    aten.upsample_bicubic2d.vec: 2,
    aten.upsample_trilinear3d.vec: 3,
    aten._upsample_bilinear2d_aa.vec: 2,
    aten.reflection_pad1d.default: 1,
    aten.reflection_pad2d.default: 2,
    aten.reflection_pad3d.default: 3,
    aten.replication_pad1d.default: 1,
    aten.replication_pad2d.default: 2,
    aten.replication_pad3d.default: 3,
    aten.grid_sampler.default: 2,
}

RULES: dict[object, Rule] = {**dict.fromkeys(_SIDES, sides), **dict.fromkeys(_UNPOOLINGS, put_back)}
