"""Which groups leave in a step, what must stay, and when the budget is met. Knows scores, not where they come from."""

from pruning_lab.selection.amounts import Groups, ShareOf, ShareOfGroups, ShareOfRemaining
from pruning_lab.selection.floors import Floors
from pruning_lab.selection.selection import Choice, Selection
from pruning_lab.selection.stopping import All, AnyOf, Both, Budget, Either, Flops, Latency, Memory, StopRule, Weights

__all__ = [
    "All",
    "AnyOf",
    "Both",
    "Budget",
    "Choice",
    "Either",
    "Floors",
    "Flops",
    "Groups",
    "Latency",
    "Memory",
    "Selection",
    "ShareOf",
    "ShareOfGroups",
    "ShareOfRemaining",
    "StopRule",
    "Weights",
]
