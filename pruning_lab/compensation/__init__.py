"""Repairs a network right after a cut, from images alone: no labels, no training. Knows the graph, and no cut.

before = Before.of(model, graph)
cut(model, graph, groups)
report = LeastSquares()(before, model, graph, batches)
"""

from pruning_lab.compensation.contract import Before, Compensation, LayerReport, Report
from pruning_lab.compensation.least_squares import LeastSquares
from pruning_lab.compensation.mean import Mean
from pruning_lab.compensation.none import NoCompensation
from pruning_lab.compensation.norms import Norms

__all__ = [
    "Before",
    "Compensation",
    "LayerReport",
    "LeastSquares",
    "Mean",
    "NoCompensation",
    "Norms",
    "Report",
]
