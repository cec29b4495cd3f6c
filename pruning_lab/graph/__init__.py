"""Which channels of a network belong together, and who reads them. Knows torch only: no config, no tracking."""

from pruning_lab.graph.channel_graph import ChannelGraph, Group
from pruning_lab.graph.export import TraceError
from pruning_lab.graph.prove import verify

__all__ = ["ChannelGraph", "Group", "TraceError", "verify"]
