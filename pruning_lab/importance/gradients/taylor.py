"""First-order Taylor: what the loss would change, to first order, if a group were masked. Knows gates.

Source: Molchanov et al., "Pruning convolutional neural networks for resource efficient inference" (2017),
taken where a group's channels are read and summed over its consumers, so that it is the derivative of `surgery.mask`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.modules import device_of
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches
from pruning_lab.importance.gradients.gate_gradients import gate_gradients
from pruning_lab.importance.objective import Loss, cross_entropy


@dataclass(frozen=True)
class Taylor:
    """Mean over images of |sum over positions and consumers of activation x gradient|.

    Args:
        loss: (logits, mask) -> scalar, a mean over the batch's images.
    """

    loss: Loss = cross_entropy

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        total, images = torch.zeros(len(graph), device=device_of(model)), 0
        for gradients in gate_gradients(model, graph, batches, self.loss):
            total += gradients.abs().sum(0)
            images += len(gradients)
        return (total / images).cpu()
