"""The resources that a budget can be on. Knows their names alone."""

from __future__ import annotations

COUNTED = ("flops", "weights", "bytes", "memory")
"""Resources that are known on paper, also of a model that has not been cut yet."""


RESOURCES = (*COUNTED, "latency")
"""Everything that a budget can be on."""
