"""Operators that combine elements at the same place: the labels that meet are tied. And the fallback for the rest."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule, labelled_in, result_shapes
from pruning_lab.graph.tracing.labelled import Labelled

aten = torch.ops.aten


def pointwise(interpreter: Interpreter, node: fx.Node, *args: Any, **kwargs: Any) -> Labelled:
    """Unite the labels that meet at each place. A dimension of size 1 is broadcast: it meets nothing."""
    shape = result_shapes(node)
    operands = list(labelled_in((args, kwargs)))
    axes = {}
    for dim in range(len(shape)):
        meeting = [
            (value, place)
            for value in operands
            if (place := dim - len(shape) + value.ndim) >= 0 and value.shape[place] == shape[dim]
        ]
        if not any(place in value.axes for value, place in meeting):
            continue
        rows = [interpreter.axis(value, place) for value, place in meeting]
        if shape[dim] == 1:
            rows = [value.axes[place] for value, place in meeting if place in value.axes]
        for row in rows[1:]:
            interpreter.tie(rows[0], row)
        axes[dim] = next(value.axes[place] for value, place in meeting if place in value.axes)
    return Labelled(shape, axes)


def prelu(interpreter: Interpreter, node: fx.Node, image: Labelled, slope: Labelled) -> Labelled:
    """One slope for all channels, or one for each channel of dimension 1."""
    if slope.shape[0] > 1:
        interpreter.tie(interpreter.axis(image, 1), interpreter.axis(slope, 0))
    return image


def first_argument(interpreter: Interpreter, node: fx.Node, value: Labelled, *args: Any, **kwargs: Any) -> Labelled:
    """Same elements, same places."""
    return value


def unknown(interpreter: Interpreter, node: fx.Node, *args: Any, **kwargs: Any) -> Any:
    """An operator without a rule: whatever it reads stays."""
    for value in labelled_in((args, kwargs)):
        interpreter.freeze(value.labels(), "has no rule in the channel graph")
    val = node.meta.get("val")
    if isinstance(val, torch.Tensor):
        return Labelled(tuple(val.shape))
    if isinstance(val, (tuple, list)):
        return [Labelled(tuple(item.shape)) if isinstance(item, torch.Tensor) else item for item in val]
    return val


def constant(interpreter: Interpreter, node: fx.Node, *args: Any, **kwargs: Any) -> Labelled:
    """A tensor that depends on no channel."""
    return Labelled(result_shapes(node))


def get_item(interpreter: Interpreter, node: fx.Node, values: Any, index: Any) -> Any:
    return values[index]


def graph_inside(interpreter: Interpreter, node: fx.Node, *args: Any) -> list[Any]:
    """A part of the network under another gradient mode or precision: it is interpreted in place."""
    place = next(index for index, arg in enumerate(args) if isinstance(arg, fx.GraphModule))
    return interpreter.run_inside(args[place], args[place + 1 :])


def nothing(interpreter: Interpreter, node: fx.Node, *args: Any, **kwargs: Any) -> None:
    return None


_SAME = (
    aten.dropout.default,
    aten.dropout_.default,
    aten.feature_dropout.default,
    aten.feature_dropout_.default,
    aten.alpha_dropout.default,
    aten.alpha_dropout_.default,
    aten.feature_alpha_dropout.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.detach.default,
    aten.detach_.default,
    aten.alias.default,
    aten.lift_fresh_copy.default,
    aten.to.dtype,
    aten.to.device,
    aten.to.dtype_layout,
    aten.to.other,
    aten._to_copy.default,
    aten.type_as.default,
)
_CONSTANT = (
    aten.zeros.default,
    aten.ones.default,
    aten.full.default,
    aten.empty.memory_format,
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.linspace.default,
    aten.eye.default,
    aten.rand.default,
    aten.randn.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
    aten.new_empty.default,
    aten.scalar_tensor.default,
)
_POINTWISE = (
    aten.copy_.default,
    aten.rrelu.default,
    aten.hardswish.default,
    aten.hardswish_.default,
    aten.hardsigmoid.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
    aten.empty_like.default,
    aten.rand_like.default,
    aten.randn_like.default,
    aten.bernoulli.default,
    aten.masked_fill.Scalar,
    aten.masked_fill.Tensor,
)

RULES: dict[object, Rule] = {
    "pointwise": pointwise,
    "unknown": unknown,
    aten.prelu.default: prelu,
    torch.ops.higher_order.wrap_with_set_grad_enabled: graph_inside,
    torch.ops.higher_order.wrap_with_autocast: graph_inside,
    operator.getitem: get_item,
    aten._assert_tensor_metadata.default: nothing,
    **dict.fromkeys(_SAME, first_argument),
    **dict.fromkeys(_CONSTANT, constant),
    **dict.fromkeys(_POINTWISE, pointwise),
}
