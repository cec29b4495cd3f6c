"""Where a user's images and masks lie: in folders, in lists of names, in a table, or in a COCO file."""

from pruning_lab.data.layouts.division import divide
from pruning_lab.data.layouts.folders import find_pairs
from pruning_lab.data.layouts.places import Found, Places, find_splits

__all__ = ["Found", "Places", "divide", "find_pairs", "find_splits"]
