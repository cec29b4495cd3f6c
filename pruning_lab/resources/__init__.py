"""What a model costs: counted in closed form from its channel graph, or measured on the clock."""

from pruning_lab.resources.counting import LayerResources, Resources, Savings, measure, memory_savings, savings
from pruning_lab.resources.latency import Latency, LatencyPlan, measure_latency

__all__ = [
    "Latency",
    "LatencyPlan",
    "LayerResources",
    "Resources",
    "Savings",
    "measure",
    "measure_latency",
    "memory_savings",
    "savings",
]
