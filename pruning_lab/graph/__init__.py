"""Which channels of a network belong together, and who reads them. Knows torch only: no config, no tracking."""

from pruning_lab.graph.channel_graph import ChannelGraph
from pruning_lab.graph.proof.verification import verify
from pruning_lab.graph.structure.channels import Group
from pruning_lab.graph.tracing.recording import TraceError

__all__ = ["ChannelGraph", "Group", "TraceError", "verify"]
