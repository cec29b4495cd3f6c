"""One experiment from start to end: the loop, its steps, and what it leaves behind. Read `loop` first."""

from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.loop import prune
from pruning_lab.lab.promise import BestWithinBudget, Last, MetricMinusPrice
from pruning_lab.lab.several_budgets import prune_to_each
from pruning_lab.lab.validation import Validation, Validator

__all__ = [
    "BestWithinBudget",
    "Experiment",
    "Last",
    "MetricMinusPrice",
    "Validation",
    "Validator",
    "prune",
    "prune_to_each",
]
