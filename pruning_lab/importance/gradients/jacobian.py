"""The Jacobian criterion: weights x gradient over all that a group loses, squared image by image. Knows products.

Source: Chen et al., "Optimal Brain Connection: Towards efficient structural pruning" (2025), the criterion as the
authors' published description has it. With w_m what tensor m of a group's layers loses (a filter with its bias, an
input channel, a norm's scale and shift) and J_m the Jacobian of the loss by it,

    score = sum over m: w_m^T (J_m^T J_m) w_m = sum over m: sum over rows b of J: (J_bm w_m)^2

so that weights of one tensor whose effects cancel are worth nothing together. The authors' rows are mini-batches; here
they are images, so that the score does not depend on the batch size, and their mean is taken. J_bm w_m is the sum over
places of output x gradient for what is lost in an output, and of input x gradient for what is lost in an input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.modules import device_of, submodule
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, readers
from pruning_lab.importance.gradients.gate_gradients import Site, by_group, products
from pruning_lab.importance.objective import Loss, cross_entropy

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Jacobian:
    """Mean over images of the sum over a group's tensors of (weights x gradient)^2.

    Args:
        loss: (logits, mask) -> scalar, a mean over the batch's images.
    """

    loss: Loss = cross_entropy

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        total, images = torch.zeros(len(graph) + 1, device=device_of(model)), 0
        for count, found in products(model, _sites(model, graph), batches, self.loss):
            for site, product in found.items():
                total += by_group(site, product, len(graph)).square().sum(0)
            images += count
        return (total[:-1] / images).cpu()


def _sites(model: nn.Module, graph: ChannelGraph) -> list[Site]:
    """What groups lose: filters, input channels, and scales and shifts of norms."""
    sites = [Site(layer, ids, output=True) for layer, ids in graph.layers.items()]
    sites += [Site(layer, ids) for layer, ids in readers(graph).items()]
    for name, tensor in graph.tensors.items():
        layer, _, leaf = name.rpartition(".")
        if leaf == "weight" and 0 in tensor.axes and isinstance(submodule(model, layer), _NORMS):
            sites.append(Site(layer, tensor.axes[0], output=True))
    return sites
