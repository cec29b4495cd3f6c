"""How long a network takes: read off a clock, and predicted for any widths from what was read before."""

from pruning_lab.resources.latency.in_turns import Latency, LatencyPlan, measure_in_turns, measure_latency
from pruning_lab.resources.latency.target import Target

__all__ = ["Latency", "LatencyPlan", "Target", "measure_in_turns", "measure_latency"]
