"""Drawn land from above with exact masks: harder than eyes, with thin and rare classes and pixels without a label.

`sheet` is what is drawn on, picture and classes at once; `ground`, `roads` and `things` draw on it, from below to the
top.
"""

from pruning_lab.data.fields.dataset import Fields

__all__ = ["Fields"]
