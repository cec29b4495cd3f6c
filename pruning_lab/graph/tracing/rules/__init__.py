"""The rule table: what each ATen operator does to labels.

A rule is `(interpreter, node, *args, **kwargs) -> Labelled` (or what the operator returns); they stand in for tensors.
An operator that is not in the table freezes what it reads and gives out nothing: less is pruned, nothing breaks.
"""

from pruning_lab.graph.tracing.interpreter import Rule
from pruning_lab.graph.tracing.rules import elementwise, layers, norms, products, shapes, spatial
from pruning_lab.graph.tracing.rules import indexing as places

RULES: dict[object, Rule] = {
    **elementwise.RULES,
    **layers.RULES,
    **norms.RULES,
    **places.RULES,
    **products.RULES,
    **shapes.RULES,
    **spatial.RULES,
}

MIXING: frozenset[object] = norms.MIXING | products.MIXING
"""Operators whose result depends on which other channels there are."""

__all__ = ["MIXING", "RULES"]
