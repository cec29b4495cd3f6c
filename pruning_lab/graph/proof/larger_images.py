"""Whether a graph that was read at one size of image holds at another. Knows trial cuts, and no operator.

A view can split channels over the sides of an image by chance of its size. What such a cut gives is right at that size
alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of
from pruning_lab.common.modules import in_mode
from pruning_lab.graph.proof.trial_cuts import ROUNDING, verify
from pruning_lab.graph.structure.channels import Channels

SHARE = 0.3
"""Of the groups that can be cut, how many the trial takes."""


def holds_when_larger(model: nn.Module, graph: Channels, inputs: tuple[Tensor, ...]) -> bool:
    """Whether a cut is what the graph says on images with sides twice as long; True where the model takes none."""
    larger = tuple(_larger(item) for item in inputs)
    tried = copy_of(model)
    try:
        with in_mode(tried, training=False), torch.no_grad():
            tried(*larger)
    except Exception:  # whatever a model says of a size that it is not made for
        return True
    generator = torch.Generator().manual_seed(0)
    groups = graph.prunable & (torch.rand(len(graph), generator=generator) < SHARE)
    for name in graph.emptied(groups):
        groups[graph.layers[name]] = False
    try:
        return verify(model, graph, groups, larger) < ROUNDING
    except Exception:  # the cut model does not run where the whole one does
        return False


def _larger(image: Tensor) -> Tensor:
    """An image with its sides doubled; anything else as it is."""
    if image.dim() < 4 or not image.is_floating_point():
        return image
    return image.repeat(1, 1, *[2] * (image.dim() - 2))
