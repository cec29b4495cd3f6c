"""The rule table: what each ATen operator does to labels.

A rule is `(interpreter, step, *args, **kwargs) -> Labelled` (or what the operator returns); they stand in for tensors.
An operator that is not in the table freezes what it reads and gives out nothing: less is pruned, nothing breaks.
"""

import torch

from pruning_lab.graph.tracing.interpreter import Rule
from pruning_lab.graph.tracing.rules import (
    elementwise,
    indexing,
    layers,
    norms,
    positions,
    products,
    shapes,
    spatial,
    writing,
)
from pruning_lab.graph.tracing.tape import without_effect

MEETING: frozenset[object] = layers.MEETING | norms.MEETING
"""Operators whose rules look at parameters through the interpreter alone, which may then share rows of labels."""

RULES: dict[object, Rule] = {
    **elementwise.RULES,
    **layers.RULES,
    **norms.RULES,
    **indexing.RULES,
    **positions.RULES,
    **products.RULES,
    **shapes.RULES,
    **spatial.RULES,
    **writing.RULES,
}

MIXING: frozenset[object] = elementwise.MIXING | norms.MIXING | products.MIXING
"""Operators whose result depends on which other channels there are."""


def recorded_whole(operator: object) -> bool:
    """Whether an operator that is made of others has a rule as it is, and need not be taken apart."""
    return any(
        one in RULES or torch.Tag.pointwise in getattr(one, "tags", ()) for one in (operator, without_effect(operator))
    )


__all__ = ["MIXING", "RULES", "recorded_whole"]
