"""CHIP: a channel whose map the layer's others can express is redundant. Knows activations alone.

Source: Sui et al., "CHIP: Channel independence-based pruning for compact neural networks" (2021). With A [channels,
positions] a layer's maps for one image, the independence of channel i is ||A||_* - ||A without row i||_*.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.activations.means import mean_of_reads
from pruning_lab.importance.contract import Batches, readers
from pruning_lab.importance.scopes import first_layers

_AT_ONCE = 2**22
"""Entries of the matrices that are decomposed together; 32 MB in double precision."""


@dataclass(frozen=True)
class Chip:
    """Mean over images of the channel's independence, as consumers read it, among the maps of the same layer.

    One eigenvalue decomposition [channels, channels] per channel and image: seconds per image with hundreds of
    channels.

    Args:
        images: how many images to look at, at most; None for all.
    """

    images: int | None = 8

    def __post_init__(self) -> None:
        if self.images is not None and self.images < 1:
            raise LabError(f"importance.images={self.images} must be at least 1, or null for all")

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        ids, layers = readers(graph), first_layers(graph)

        def independence(name: str, activation: Tensor) -> Tensor:
            maps = activation.flatten(2) if activation.dim() > 2 else activation.unsqueeze(2)
            source = torch.where(ids[name] >= 0, layers[ids[name]], -1).to(maps.device)
            result = torch.zeros(maps.shape[:2], dtype=torch.float64, device=maps.device)
            for layer in source[source >= 0].unique():
                rows = (source == layer).nonzero().squeeze(1)
                result[:, rows] = _independence(maps[:, rows].double())
            return result

        return mean_of_reads(model, graph, _first(batches, self.images), independence)


def _independence(maps: Tensor) -> Tensor:
    """[N, channels, positions] -> [N, channels]."""
    gram = maps @ maps.mT
    channels = maps.shape[1]
    whole = _nuclear(gram).unsqueeze(1)
    chunk = max(1, _AT_ONCE // (len(maps) * channels**2))
    left = []
    for part in torch.arange(channels, device=maps.device).split(chunk):
        without = gram.unsqueeze(1).repeat(1, len(part), 1, 1)
        each = torch.arange(len(part), device=maps.device)
        without[:, each, part, :] = 0
        without[:, each, :, part] = 0
        left.append(_nuclear(without))
    return whole - torch.cat(left, dim=1)


def _nuclear(gram: Tensor) -> Tensor:
    """Sum of the singular values of a matrix, from its Gram matrix [..., n, n]."""
    return torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().sum(-1)


def _first(batches: Batches, images: int | None) -> Batches:
    for image, mask in batches:
        if images is None:
            yield image, mask
            continue
        yield image[:images], mask[:images]
        images -= len(image)
        if images <= 0:
            return
