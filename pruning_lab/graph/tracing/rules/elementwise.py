"""Operators that combine elements at the same place: the labels that meet are tied. And the fallback for the rest."""

from __future__ import annotations

from typing import Any

import torch

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.tape import Facts, Step, item, leaves

aten = torch.ops.aten


def pointwise(interpreter: Interpreter, step: Step, *args: Any, **kwargs: Any) -> Labelled:
    """Unite the labels that meet at each place. A dimension of size 1 is broadcast: it meets nothing.

    Neither does one along which all elements are alike; but its size must follow what it meets, which is to be proved.
    """
    return united(interpreter, step.shapes, *leaves((args, kwargs), Labelled))


def united(interpreter: Interpreter, shape: tuple[int, ...], *operands: Labelled) -> Labelled:
    """What operands give that are broadcast to a shape and meet place by place."""
    if len(operands) == 1 and operands[0].shape == shape:
        return interpreter.passed(operands[0])
    axes, loose = {}, set()
    for dim in range(len(shape)):
        meeting = [
            (value, place)
            for value in operands
            if (place := dim - len(shape) + value.ndim) >= 0 and value.shape[place] == shape[dim]
        ]
        firm = [(value, place) for value, place in meeting if place not in value.loose]
        if meeting and not firm:
            loose.add(dim)
        if not any(place in value.axes for value, place in firm):
            continue
        rows = [interpreter.axis(value, place) for value, place in firm]
        if shape[dim] == 1:
            rows = [value.axes[place] for value, place in firm if place in value.axes]
        for row in rows[1:]:
            interpreter.tie(rows[0], row)
        axes[dim] = next(value.axes[place] for value, place in firm if place in value.axes)
        if len(firm) < len(meeting):
            interpreter.suspect(axes[dim], (axes[dim],))
    return Labelled(shape, axes, loose=frozenset(loose))


def prelu(interpreter: Interpreter, step: Step, image: Labelled, slope: Labelled) -> Labelled:
    """One slope for all channels, or one for each channel of dimension 1."""
    if slope.shape[0] > 1:
        interpreter.tie(interpreter.axis(image, 1), interpreter.axis(slope, 0))
    return image


def first_argument(interpreter: Interpreter, step: Step, value: Labelled, *args: Any, **kwargs: Any) -> Labelled:
    """Same elements, same places."""
    return value


def unknown(interpreter: Interpreter, step: Step, *args: Any, **kwargs: Any) -> Any:
    """An operator without a rule: whatever it reads stays."""
    for value in leaves((args, kwargs), Labelled):
        interpreter.freeze(value.labels(), "has no rule in the channel graph")
    result = step.result
    if isinstance(result, list):
        return [Labelled(one.shape) if isinstance(one, Facts) else one for one in result]
    return Labelled(result.shape) if isinstance(result, Facts) else result


def constant(interpreter: Interpreter, step: Step, *args: Any, **kwargs: Any) -> Labelled:
    """A tensor that depends on no channel."""
    return Labelled(step.shapes)


def filled(interpreter: Interpreter, step: Step, *args: Any, **kwargs: Any) -> Labelled:
    """One number at all places, or nothing yet."""
    return Labelled(step.shapes, loose=frozenset(dim for dim, size in enumerate(step.shapes) if size > 1))


def copied(interpreter: Interpreter, step: Step, into: Labelled, given: Labelled, *args: Any) -> Labelled:
    """Other values in the same memory: what was there and what comes meet."""
    return pointwise(interpreter, step, into, given)


def compared(interpreter: Interpreter, step: Step, one: Labelled, other: Labelled, *args: Any) -> Labelled:
    """A distance or a loss of two tensors: they meet, and all is then reduced to one number, or to none."""
    shape = tuple(torch.broadcast_shapes(one.shape, other.shape))
    met = united(interpreter, shape, one, other)
    if step.shapes == shape:
        return met
    interpreter.space.mix(met.labels(), f"{interpreter.place} reduces over channels")
    return Labelled(step.shapes)


def get_item(interpreter: Interpreter, step: Step, values: Any, index: Any) -> Any:
    return values[index]


_SAME = (
    aten.dropout.default,
    aten.feature_dropout.default,
    aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.detach.default,
    aten.alias.default,
    aten.lift_fresh_copy.default,
    aten.to.dtype,
    aten.to.device,
    aten.to.dtype_layout,
    aten.to.other,
    aten._to_copy.default,
    aten.type_as.default,
    aten.bucketize.Tensor,
)
_CONSTANT = (
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.linspace.default,
    aten.eye.default,
    aten.rand.default,
    aten.randn.default,
    aten.scalar_tensor.default,
)
_FILLED = (
    aten.zeros.default,
    aten.ones.default,
    aten.full.default,
    aten.empty.memory_format,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
    aten.new_empty.default,
)
_POINTWISE = (
    aten.fill.Scalar,
    aten.fill.Tensor,
    aten.zero.default,
    aten.rrelu.default,
    aten.hardswish.default,
    aten.hardsigmoid.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
    aten.empty_like.default,
    aten.rand_like.default,
    aten.randn_like.default,
    aten.bernoulli.default,
    aten.log_sigmoid.default,
    aten.masked_fill.Scalar,
    aten.masked_fill.Tensor,
)

_COMPARED = (
    aten.dist.default,
    aten.mse_loss.default,
    aten.l1_loss.default,
    aten.smooth_l1_loss.default,
    aten.huber_loss.default,
)

RULES: dict[object, Rule] = {
    "pointwise": pointwise,
    "unknown": unknown,
    aten.prelu.default: prelu,
    item: get_item,
    **dict.fromkeys(_SAME, first_argument),
    aten.copy.default: copied,
    **dict.fromkeys(_COMPARED, compared),
    **dict.fromkeys(_CONSTANT, constant),
    **dict.fromkeys(_FILLED, filled),
    **dict.fromkeys(_POINTWISE, pointwise),
}
MIXING = frozenset(_COMPARED)
