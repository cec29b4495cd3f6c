"""Second order with a diagonal Fisher matrix in the Hessian's place. Knows gates.

Source: Theis et al., "Faster gaze prediction with dense networks and Fisher pruning" (2018): at a minimum the
gradient is gone, and half the mean squared gradient by a gate is what closing it costs.
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
class Hessian:
    """Half the mean over images of (sum over positions and consumers of activation x gradient)^2.

    Args:
        loss: (logits, mask) -> scalar, a mean over the batch's images; a negative log-likelihood for Fisher's sake.
    """

    loss: Loss = cross_entropy

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        total, images = torch.zeros(len(graph), device=device_of(model)), 0
        for gradients in gate_gradients(model, graph, batches, self.loss):
            total += gradients.square().sum(0)
            images += len(gradients)
        return (total / (2 * images)).cpu()
