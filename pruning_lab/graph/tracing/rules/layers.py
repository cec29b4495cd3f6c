"""Convolutions, transposed convolutions and linear layers: they give out filters and read channels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.tape import Step

aten = torch.ops.aten


def convolution(
    interpreter: Interpreter,
    step: Step,
    image: Labelled,
    weight: Labelled,
    bias: Labelled | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Labelled:
    """weight [out, in / groups, *kernel]; out labels are the weight's first dimension."""
    inputs, channel_dim = _channels_in(interpreter, image, weight)
    if 0 in weight.loose and weight.shape[1] == 1 and groups == weight.shape[0]:
        return _same_for_all(interpreter, step, image, inputs, channel_dim)
    filters = interpreter.axis(weight, 0)
    per_group, blocks_out = weight.shape[1], weight.shape[0] // groups
    name = interpreter.layer(weight, filters)
    inputs = interpreter.connected(name, inputs)
    if groups == 1:
        interpreter.meet(inputs, weight, 1)
        interpreter.read(name, weight, 1, inputs)
    elif per_group == 1 or blocks_out == 1:
        _tie_whole_groups(interpreter, inputs, filters, groups)
        interpreter.freeze(interpreter.axis(weight, 1), "keeps its group size")
        interpreter.counted_groups[name] = inputs.reshape(groups, per_group)[:, 0]
    else:
        interpreter.tie_rows(filters.reshape(groups, blocks_out))
        interpreter.meet(interpreter.tie_rows(inputs.reshape(groups, per_group)), weight, 1)
        interpreter.read(name, weight, 1, inputs)
    shape = step.shapes
    positions = math.prod(shape) // shape[channel_dim]
    _count(interpreter, name, weight, positions)
    return _result(interpreter, image, bias, shape, channel_dim, filters)


def _same_for_all(interpreter: Interpreter, step: Step, image: Labelled, inputs: Tensor, channel_dim: int) -> Labelled:
    """One constant kernel for every channel, as a blur has it: channels pass, and their number must be followed."""
    interpreter.suspect(inputs, (inputs,))
    axes = {dim: row for dim, row in image.axes.items() if dim < channel_dim}
    return Labelled(step.shapes, {**axes, channel_dim: inputs})


def transposed_convolution(
    interpreter: Interpreter,
    step: Step,
    image: Labelled,
    weight: Labelled,
    bias: Labelled | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Labelled:
    """weight [in, out / groups, *kernel]; its multiplications happen at the input's positions."""
    inputs, channel_dim = _channels_in(interpreter, image, weight)
    if 0 in weight.loose and weight.shape[1] == 1 and groups == weight.shape[0]:
        return _same_for_all(interpreter, step, image, inputs, channel_dim)
    slices, filters_of_group = interpreter.axis(weight, 0), interpreter.axis(weight, 1)
    per_group, blocks_out = weight.shape[0] // groups, weight.shape[1]
    whole_groups = groups > 1 and (per_group == 1 or blocks_out == 1)
    filters = filters_of_group.repeat(groups)
    if whole_groups:
        filters = slices.reshape(groups, per_group)[:, 0].repeat_interleave(blocks_out)
    name = interpreter.layer(weight, filters)
    inputs = interpreter.connected(name, inputs)
    interpreter.tie(inputs, slices)
    if whole_groups:
        _tie_whole_groups(interpreter, inputs, filters, groups)
        interpreter.freeze(filters_of_group, "keeps its group size")
        interpreter.counted_groups[name] = inputs.reshape(groups, per_group)[:, 0]
    else:
        interpreter.tie_rows(inputs.reshape(groups, per_group))
        interpreter.read(name, weight, 0, inputs)
    _count(interpreter, name, weight, math.prod(image.shape) // image.shape[channel_dim])
    return _result(interpreter, image, bias, step.shapes, channel_dim, filters)


def linear(
    interpreter: Interpreter, step: Step, image: Labelled, weight: Labelled, bias: Labelled | None = None
) -> Labelled:
    """weight [out, in]; reads the last dimension, whatever the others are."""
    filters = interpreter.axis(weight, 0)
    name = interpreter.layer(weight, filters)
    inputs = interpreter.connected(name, interpreter.axis(image, -1))
    interpreter.meet(inputs, weight, 1)
    interpreter.read(name, weight, 1, inputs)
    _count(interpreter, name, weight, math.prod(image.shape[:-1]))
    shape = step.shapes
    last = len(shape) - 1
    if bias is not None:
        interpreter.meet(filters, bias, 0)
    return Labelled(shape, {**{d: row for d, row in image.axes.items() if d < last}, last: filters})


def _channels_in(interpreter: Interpreter, image: Labelled, weight: Labelled) -> tuple[Tensor, int]:
    """The labels a convolution reads, and their dimension; labels along the image's sides can't be cut."""
    channel_dim = image.ndim - (weight.ndim - 2) - 1
    for dim, row in image.axes.items():
        if dim > channel_dim:
            interpreter.freeze(row, "convolves along it")
    return interpreter.axis(image, channel_dim), channel_dim


def _tie_whole_groups(interpreter: Interpreter, inputs: Tensor, filters: Tensor, groups: int) -> None:
    """Where a group has one input or one filter, all that belongs to the group leaves together."""
    both = torch.cat([inputs.reshape(groups, -1), filters.reshape(groups, -1)], dim=1)
    interpreter.tie_rows(both.T)


def _count(interpreter: Interpreter, name: str, weight: Labelled, positions: int) -> None:
    kernel = math.prod(weight.shape[2:])
    interpreter.cost(name, positions * kernel, interpreter.axis(weight, 0), interpreter.axis(weight, 1))


def _result(
    interpreter: Interpreter,
    image: Labelled,
    bias: Labelled | None,
    shape: tuple[int, ...],
    channel_dim: int,
    filters: Tensor,
) -> Labelled:
    if bias is not None:
        interpreter.meet(filters, bias, 0)
    axes = {dim: row for dim, row in image.axes.items() if dim < channel_dim}
    return Labelled(shape, {**axes, channel_dim: filters})


RULES: dict[object, Rule] = {
    aten.conv1d.default: convolution,
    aten.conv2d.default: convolution,
    aten.conv3d.default: convolution,
    aten.conv1d.padding: convolution,
    aten.conv2d.padding: convolution,
    aten.conv3d.padding: convolution,
    aten.conv_transpose1d.default: transposed_convolution,
    aten.conv_transpose2d.input: transposed_convolution,
    aten.conv_transpose3d.input: transposed_convolution,
    aten.linear.default: linear,
}

MEETING = frozenset(RULES)
"""Operators whose rules look at parameters through the interpreter alone."""
