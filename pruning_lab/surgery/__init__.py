"""Cuts and masks channels of live models, and takes out what nothing reads. The public door of `graph.cutting`."""

from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.cutting.mask import mask

__all__ = [
    "cut",
    "mask",
]
