"""The size of all weights that leave with a group: filters, scales of normalizations, and kernels of its readers.

Source: Fang et al., "DepGraph: towards any structural pruning" (2023), whose group norm is the sum over the tensors;
their mean, here, does not count a group for the number of its readers. Knows weights and the graph's tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches
from pruning_lab.importance.weights.kernels import check_p


@dataclass(frozen=True)
class GroupMagnitude:
    """Mean over tensors of the sum of |w|^p over what the group has of each; biases do not count.

    A tensor counts once for each dimension along which it has channels of the group.

    Args:
        p: 1 or 2.
    """

    p: int = 2

    def __post_init__(self) -> None:
        check_p(self.p)

    @torch.no_grad()
    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        total, parts = torch.zeros(len(graph)), torch.zeros(len(graph))
        for name, parameter in model.named_parameters():
            info = graph.tensors.get(name)
            if info is None or name.rpartition(".")[2] == "bias":
                continue
            sizes = parameter.float().abs() if self.p == 1 else parameter.float().square()
            for dim, ids in info.axes.items():
                by_channel = sizes.movedim(dim, 0).reshape(len(ids), -1).sum(1).cpu()
                known = ids >= 0
                total.index_add_(0, ids[known], by_channel[known])
                parts[ids[known].unique()] += 1
        return total / parts.clamp_min(1)
