"""Drawn eyes with exact masks, the data set that every installation has.

`shape` decides where everything is, and so the mask; `ball` and `face` paint it.
"""

from pruning_lab.data.eyes.dataset import Eyes

__all__ = ["Eyes"]
