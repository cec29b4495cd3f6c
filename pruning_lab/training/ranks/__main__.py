"""A rank that rank 0 started on this machine: `python -m pruning_lab.training.ranks`."""

import sys

from pruning_lab.common.ranks import place_here
from pruning_lab.training.ranks.follower import follow

if __name__ == "__main__":
    place = place_here()
    if place is None:
        sys.exit("error: this is a part of a run on several devices, and is started by it: set devices=2")
    sys.exit(follow(place))
