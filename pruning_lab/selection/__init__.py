"""Which groups leave in a step, what must stay, and when the budget is met. Knows scores, not where they come from."""

from pruning_lab.selection.amounts import Groups, ShareOf, ShareOfGroups, ShareOfRemaining
from pruning_lab.selection.floors import Floors
from pruning_lab.selection.selection import Choice, Selection
from pruning_lab.selection.stopping import All, AnyOf, Budget, StopRule

__all__ = [
    "All",
    "AnyOf",
    "Budget",
    "Choice",
    "Floors",
    "Groups",
    "Selection",
    "ShareOf",
    "ShareOfGroups",
    "ShareOfRemaining",
    "StopRule",
]
