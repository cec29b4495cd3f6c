"""Takes channels out of sight: zeroes the weights by which anything reads them. Knows modules and their channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pruning_lab.common.modules import every_path
from pruning_lab.graph.cutting.held_tensors import held_tensor
from pruning_lab.graph.structure.channels import Channels, Groups


def mask(model: nn.Module, graph: Channels, groups: Groups) -> None:
    """Zero, in place, the weights by which anything reads these groups' channels; all shapes stay.

    Where two activations are multiplied and summed over a channel (attention), no weight reads it; there the
    channel's own filters are zeroed.
    """
    removed = graph.as_mask(groups)
    modules = dict(every_path(model))
    for consumer in graph.consumers:
        for name in consumer.tensors:
            row = graph.tensors[name].axes.get(consumer.dim)
            if row is not None:
                _zero(held_tensor(modules, name), consumer.dim, graph.taken(removed, row))
    silenced = removed & graph.contracted
    if bool(silenced.any()):
        for name, info in graph.tensors.items():
            for dim, row in info.axes.items():
                if info.trainable:
                    _zero(held_tensor(modules, name), dim, graph.taken(silenced, row))


def _zero(tensor: Tensor, dim: int, gone: Tensor) -> None:
    if bool(gone.any()):
        with torch.no_grad():
            tensor.index_fill_(dim, gone.nonzero().squeeze(1).to(tensor.device), 0)
