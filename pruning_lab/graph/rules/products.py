"""Matrix products: of activations with each other (attention), or with a parameter that is then a layer's weight."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx

from pruning_lab.graph.interpreter import Interpreter, Rule, result_shapes
from pruning_lab.graph.values import Value

aten = torch.ops.aten


def matmul(interpreter: Interpreter, node: fx.Node, left: Value, right: Value) -> Value:
    """Contract the last dimension of `left` with the last but one of `right`; leading dimensions meet in place."""
    shape = result_shapes(node)
    if left.ndim < 2 or right.ndim < 2:
        return _frozen(interpreter, node, left, right)
    name = contract(interpreter, left, right)
    axes: dict[int, Tensor] = {}
    for dim in range(len(shape) - 2):
        rows = [
            value.axes[place]
            for value in (left, right)
            if (place := dim - len(shape) + value.ndim) in value.axes and value.shape[place] == shape[dim]
        ]
        for row in rows[1:]:
            interpreter.tie(rows[0], row)
        if rows:
            axes[dim] = rows[0]
    rows_of, columns_of = interpreter.axis(left, -2), interpreter.axis(right, -1)
    count = math.prod(shape[:-2])
    interpreter.cost(name, count, rows_of, interpreter.axis(left, -1), columns_of)
    if left.ndim - 2 in left.axes:
        axes[len(shape) - 2] = rows_of
    if right.ndim - 1 in right.axes:
        axes[len(shape) - 1] = columns_of
    return Value(shape, axes)


def contract(interpreter: Interpreter, left: Value, right: Value) -> str:
    """Summed over: with a parameter it is a layer's read, between activations both sides leave together.

    Returns:
        the layer's name, empty for a product of two activations.
    """
    one, other = interpreter.axis(left, -1), interpreter.axis(right, -2)
    interpreter.tie(one, other)
    if right.parameters and not left.parameters:
        name = interpreter.layer(right, interpreter.axis(right, -1))
        interpreter.read(name, right, right.ndim - 2, one)
        return name
    if left.parameters and not right.parameters:
        name = interpreter.layer(left, interpreter.axis(left, -2))
        interpreter.read(name, left, left.ndim - 1, other)
        return name
    interpreter.contracted.append(one)
    return ""


def add_product(
    interpreter: Interpreter, node: fx.Node, bias: Value, left: Value, right: Value, **kwargs: Any
) -> Value:
    """bias + left @ right."""
    product = matmul(interpreter, node, left, right)
    return interpreter.rules["pointwise"](interpreter, node, bias, product)


def _frozen(interpreter: Interpreter, node: fx.Node, *values: Value) -> Value:
    for value in values:
        interpreter.freeze(value.labels(), "multiplies by a vector")
    return Value(result_shapes(node))


RULES: dict[object, Rule] = {
    aten.matmul.default: matmul,
    aten.bmm.default: matmul,
    aten.mm.default: matmul,
    aten.addmm.default: add_product,
    aten.baddbmm.default: add_product,
}
