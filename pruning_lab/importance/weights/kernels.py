"""A layer's weights, filter by filter, and their norms. Knows modules and the graph's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import submodule, weight_of
from pruning_lab.graph import ChannelGraph

AT_A_TIME_BYTES = 1 << 19
"""Of a matrix whose norms are taken."""


def filter_weights(model: nn.Module, graph: ChannelGraph) -> dict[str, Tensor]:
    """Layer -> its kernels, [filters, in_channels / groups, *kernel], detached."""
    return {layer: _kernels(model, graph, layer) for layer in graph.layers}


def check_p(p: int) -> None:
    """Raises LabError unless p is a norm that `norms` takes."""
    if p not in (1, 2):
        raise LabError(f"importance.p={p} must be 1 or 2")


def norms(rows: Tensor, p: int) -> Tensor:
    """||row||_p of a matrix [n, m] for p in {1, 2}, float [n].

    For p = 1 a plain sum is faster than torch's norm, and on a CPU a few rows at a time, whose absolute values stay in
    its cache.
    """
    if p == 2:
        return torch.linalg.vector_norm(rows, dim=1)
    if rows.device.type != "cpu" or rows.nbytes <= AT_A_TIME_BYTES:
        return rows.abs().sum(1)
    some = max(1, AT_A_TIME_BYTES * rows.shape[0] // rows.nbytes)
    return torch.cat([part.abs().sum(1) for part in rows.split(some)])


def _kernels(model: nn.Module, graph: ChannelGraph, layer: str) -> Tensor:
    module = submodule(model, layer)
    weight = (model.get_parameter(layer) if module is None else weight_of(module)).detach()
    if getattr(module, "transposed", False):
        groups = cast(int, module.groups)  # type: ignore[union-attr]
        blocks = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        return blocks.transpose(1, 2).flatten(0, 1)
    if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
        return weight
    info = graph.tensors.get(layer if module is None else f"{layer}.weight")
    if info is None:
        return weight
    filter_dim = _filter_dim(info.axes, graph.layers[layer])
    input_dim = next((read.dim for read in graph.consumers if read.layer == layer), filter_dim)
    return weight.movedim((filter_dim, input_dim), (0, 1)) if input_dim != filter_dim else weight.movedim(filter_dim, 0)


def _filter_dim(axes: Mapping[int, Tensor], ids: Tensor) -> int:
    return next((dim for dim, row in axes.items() if row.shape == ids.shape and bool((row == ids).all())), 0)
