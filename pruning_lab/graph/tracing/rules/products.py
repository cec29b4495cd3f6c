"""Matrix products: of activations with each other (attention), or with a parameter that is then a layer's weight."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.tape import Step

aten = torch.ops.aten


def matmul(interpreter: Interpreter, step: Step, left: Labelled, right: Labelled) -> Labelled:
    """The last dimension of `left` meets the last but one of `right`; both leave together."""
    if left.ndim < 2 or right.ndim < 2:
        return _vector(interpreter, step, left, right)
    return product(interpreter, left, right, step.shapes)


def product(interpreter: Interpreter, left: Labelled, right: Labelled, shape: tuple[int, ...]) -> Labelled:
    """left [..., n, k] @ right [..., k, m]; leading dimensions meet in place."""
    name = contract(interpreter, left, left.ndim - 1, right, right.ndim - 2)
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
    factors = [axes[dim] for dim in axes]
    fixed = math.prod(size for dim, size in enumerate(shape[:-2]) if dim not in axes)
    interpreter.cost(name, fixed, *factors, rows_of, interpreter.axis(left, -1), columns_of)
    if left.ndim - 2 in left.axes:
        axes[len(shape) - 2] = rows_of
    if right.ndim - 1 in right.axes:
        axes[len(shape) - 1] = columns_of
    return Labelled(shape, axes)


def contract(interpreter: Interpreter, left: Labelled, left_dim: int, right: Labelled, right_dim: int) -> str:
    """Summed over: with a parameter it is a layer's read, between activations both sides leave together.

    Returns:
        the layer's name, empty for a product of two activations or of two parameters.
    """
    one, other = interpreter.axis(left, left_dim), interpreter.axis(right, right_dim)
    interpreter.tie(one, other)
    if left.parameters and right.parameters:
        interpreter.space.mix(one, f"{interpreter.place} sums parameters over channels")
        return ""
    for weight, dim, channels in ((right, right_dim, one), (left, left_dim, other)):
        if weight.parameters and weight.ndim > 1:
            filters = next(place for place in reversed(range(weight.ndim)) if place != dim)
            name = interpreter.layer(weight, interpreter.axis(weight, filters))
            interpreter.read(name, weight, dim, channels)
            return name
    interpreter.contract(one)
    return ""


def add_product(
    interpreter: Interpreter, step: Step, bias: Labelled, left: Labelled, right: Labelled, **kwargs: Any
) -> Labelled:
    """bias + left @ right."""
    return interpreter.rules["pointwise"](interpreter, step, bias, matmul(interpreter, step, left, right))


def _vector(interpreter: Interpreter, step: Step, left: Labelled, right: Labelled) -> Labelled:
    """A product with a vector: what is summed over leaves together, the rest passes."""
    contract(interpreter, left, left.ndim - 1, right, max(right.ndim - 2, 0))
    shape = step.shapes
    rest = [left.axes.get(dim) for dim in range(left.ndim - 1)]
    rest += [right.axes.get(dim) for dim in range(right.ndim) if dim != max(right.ndim - 2, 0)]
    return Labelled(shape, {dim: row for dim, row in enumerate(rest) if row is not None})


def attention(
    interpreter: Interpreter,
    step: Step,
    query: Labelled,
    key: Labelled,
    value: Labelled,
    mask: Labelled | None = None,
    *args: Any,
    scale: float | None = None,
    enable_gqa: bool = False,
    **kwargs: Any,
) -> Labelled:
    """softmax(query @ key^T) @ value. The default scale is computed from the width of a head, which then stays."""
    if scale is None:
        for side in (query, key):
            interpreter.freeze(interpreter.axis(side, -1), "takes its scale from the width of a head")
    if mask is not None:
        interpreter.freeze(mask.labels(), "masks with it")
    if enable_gqa:
        for side in (query, key, value):
            interpreter.freeze(interpreter.axis(side, -3), "repeats its heads")
    leading = step.shapes[:-2]
    last = key.ndim - 1
    turned = {{last: last - 1, last - 1: last}.get(dim, dim): row for dim, row in key.axes.items()}
    swapped = Labelled((*key.shape[:-2], key.shape[-1], key.shape[-2]), turned)
    scores = product(interpreter, query, swapped, (*leading, query.shape[-2], key.shape[-2]))
    return product(interpreter, scores, value, step.shapes)


def einsum(interpreter: Interpreter, step: Step, equation: str, operands: list[Labelled], *args: Any) -> Labelled:
    """Dimensions with one letter meet; letters that the result lacks are summed over."""
    shape = step.shapes
    inputs, letters_out = _letters(equation, [operand.ndim for operand in operands], len(shape))
    rows: dict[str, list[Tensor]] = {}
    sizes: dict[str, int] = {}
    for operand, letters in zip(operands, inputs, strict=True):
        for dim, letter in enumerate(letters):
            sizes[letter] = max(operand.shape[dim], sizes.get(letter, 1))
            if dim in operand.axes and operand.shape[dim] > 1:
                rows.setdefault(letter, []).append(operand.axes[dim])
            elif operand.shape[dim] > 1:
                rows.setdefault(letter, []).append(interpreter.axis(operand, dim))
    for met in rows.values():
        for row in met[1:]:
            interpreter.tie(met[0], row)
    labelled = {letter: next((r for r in met if bool(r.any())), None) for letter, met in rows.items()}
    known = {letter: row for letter, row in labelled.items() if row is not None}
    name = _einsum_layer(interpreter, operands, inputs, letters_out, known)
    if any(letter not in letters_out for letter in sizes) and len(operands) > 1:
        fixed = math.prod(size for letter, size in sizes.items() if letter not in known)
        interpreter.cost(name, fixed, *known.values())
    return Labelled(shape, {dim: known[letter] for dim, letter in enumerate(letters_out) if letter in known})


def _letters(equation: str, ranks: list[int], rank_out: int) -> tuple[list[list[str]], list[str]]:
    """The letter of every dimension; those of an ellipsis are numbered from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        every = sorted(set(left) - {",", "."})
        right = ("..." if "..." in left else "") + "".join(one for one in every if left.count(one) == 1)

    def expand(term: str, rank: int) -> list[str]:
        before, dots, after = term.partition("...")
        hidden = rank - len(before) - len(after) if dots else 0
        return [*before, *(f"...{index}" for index in range(hidden, 0, -1)), *after]

    return [expand(term, rank) for term, rank in zip(terms, ranks, strict=True)], expand(right, rank_out)


def _einsum_layer(
    interpreter: Interpreter,
    operands: list[Labelled],
    inputs: list[list[str]],
    letters_out: list[str],
    known: dict[str, Tensor],
) -> str:
    """Where a parameter is summed over, it is a layer; its filters run along its last letter that is left."""
    summed = [letter for letter in known if letter not in letters_out]
    for weight, letters in zip(operands, inputs, strict=True):
        read = [letter for letter in letters if letter in summed]
        given = [letter for letter in letters if letter in letters_out and letter in known]
        if weight.parameters and read and given:
            name = interpreter.layer(weight, known[given[-1]])
            for letter in read:
                interpreter.read(name, weight, letters.index(letter), known[letter])
            return name
    for letter in summed:
        interpreter.contract(known[letter])
    return ""


RULES: dict[object, Rule] = {
    aten.matmul.default: matmul,
    aten.bmm.default: matmul,
    aten.mm.default: matmul,
    aten.mv.default: matmul,
    aten.dot.default: matmul,
    aten.vdot.default: matmul,
    aten.addmm.default: add_product,
    aten.baddbmm.default: add_product,
    aten.einsum.default: einsum,
    aten.scaled_dot_product_attention.default: attention,
}
MIXING = frozenset(RULES)
