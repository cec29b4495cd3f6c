"""Gives back what a step took beyond what was asked of it. Knows plans and blocks; neither scores nor budgets.

The block that ends a step often saves more than was missing. Then it, or a block before it, need not leave whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pruning_lab.selection.blocks import Block
from pruning_lab.selection.cut_plan import CutPlan

MOST = 24
"""Blocks that are looked at, the dearest ones."""


def trimmed(plan: CutPlan, blocks: Sequence[Block], enough: Callable[[CutPlan], bool]) -> CutPlan:
    """The plan without the blocks, or parts of blocks, that it is enough without.

    Args:
        blocks: in the order in which they were chosen; the last one is tried first.
        enough: whether a plan is what was asked for; it is true of the given one.
    """
    needed = set[int]()
    for block in list(reversed(blocks))[:MOST]:
        if block.part in needed or len(block.groups) == 1:
            continue
        for end in (0, *block.ends[:-1]):
            smaller = plan.sparing(block.groups[end:])
            if enough(smaller):
                plan = smaller
                break
        if bool(plan.chosen[block.groups].any()):
            needed.add(block.part)
    return plan
