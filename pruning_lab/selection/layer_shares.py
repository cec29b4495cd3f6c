"""What a group is of its layers: its score as a share of all scores there. Knows scores and layers; no resources.

Most methods tell the filters of one layer apart, and are made comparable over layers by the layer's mean: then one
filter of sixteen counts as much as one of a thousand, though it is far more of what its layer does. Divided by what
each saves, narrow layers of large maps would be drained first. As a share, what leaves a layer costs the more the
narrower the layer has become.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pruning_lab.graph import ChannelGraph


def shares_of_layers(scores: Tensor, graph: ChannelGraph) -> Tensor:
    """Each group's score over the sum of its layer's, added up over the layers that it is in, float64 [n_groups].

    Args:
        scores: float [n_groups]; groups of infinite score stay infinite, and count for nothing in the sums.
    """
    worth = scores.double().where(scores.isfinite(), 0.0)
    shares = torch.zeros_like(worth)
    for row in graph.layers.values():
        ids = row[row >= 0]
        total = worth[ids].abs().sum()
        if total > 0:
            shares.index_add_(0, ids, worth[ids] / total)
    return torch.where(scores.isfinite(), shares, scores.double())
