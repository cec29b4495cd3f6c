"""What works along an image's sides, as pooling and resampling do: channels pass, what is labelled there stays."""

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
            interpreter.freeze(row, "works along it")
    result = Labelled(shape, {dim: row for dim, row in image.axes.items() if dim < first_side})
    return result if isinstance(shapes, tuple) else [result] * len(shapes)


def put_back(interpreter: Interpreter, step: Step, image: Labelled, places: Labelled, *args: Any) -> Labelled:
    """Max-unpooling: each channel goes to the places that its own channel of a pooling remembers."""
    count = _UNPOOLINGS[step.target]
    axes = {}
    for dim in range(image.ndim):
        if dim >= image.ndim - count:
            for value in (image, places):
                interpreter.freeze(value.axes.get(dim, _NONE), "works along it")
        elif dim in image.axes or dim in places.axes:
            axes[dim] = interpreter.axis(image, dim)
            interpreter.tie(axes[dim], interpreter.axis(places, dim))
    return Labelled(step.shapes, axes)


def transformed(interpreter: Interpreter, step: Step, image: Labelled, dims: list[int], *args: Any) -> Labelled:
    """A Fourier transform along some dimensions."""
    along = {dim % image.ndim for dim in dims}
    for dim in along & set(image.axes):
        interpreter.freeze(image.axes[dim], "works along it")
    return Labelled(step.shapes, {dim: row for dim, row in image.axes.items() if dim not in along})


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
    aten.upsample_nearest1d.default: 1,
    aten.upsample_nearest2d.default: 2,
    aten.upsample_nearest3d.default: 3,
    aten._upsample_nearest_exact1d.vec: 1,
    aten._upsample_nearest_exact2d.vec: 2,
    aten._upsample_nearest_exact3d.vec: 3,
    aten._upsample_nearest_exact1d.default: 1,
    aten._upsample_nearest_exact2d.default: 2,
    aten._upsample_nearest_exact3d.default: 3,
    aten.upsample_linear1d.default: 1,
    aten.upsample_bicubic2d.default: 2,
    aten.upsample_trilinear3d.default: 3,
    aten._upsample_bilinear2d_aa.default: 2,
    aten._upsample_bicubic2d_aa.vec: 2,
    aten._upsample_bicubic2d_aa.default: 2,
    aten.fractional_max_pool2d.default: 2,
    aten.fractional_max_pool3d.default: 3,
    aten.tril.default: 2,
    aten.triu.default: 2,
    aten.diag_embed.default: 1,
    aten.view_as_complex.default: 1,
    aten.view_as_real.default: 0,
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

_TRANSFORMS = {aten._fft_c2c.default, aten._fft_r2c.default, aten._fft_c2r.default}

RULES: dict[object, Rule] = {
    **dict.fromkeys(_SIDES, sides),
    **dict.fromkeys(_UNPOOLINGS, put_back),
    **dict.fromkeys(_TRANSFORMS, transformed),
}
