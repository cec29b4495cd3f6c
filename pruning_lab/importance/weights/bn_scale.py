"""The scale of the normalization that a group's channels pass. Knows normalizations' weights alone.

Source: Liu et al., "Learning efficient convolutional networks through network slimming" (2017), which also trains with
an L1 penalty on these scales; without one, the scores say less.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, over_ids

NORM_LAYERS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class BnScale:
    """Mean |gamma| over all normalizations of a group's channels.

    A group without one gets the highest score there is: it leaves last, since nothing is known against it.
    """

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        ids, scales = [], []
        for name, module in model.named_modules():
            info = graph.tensors.get(f"{name}.weight")
            if isinstance(module, NORM_LAYERS) and info is not None and list(info.axes) == [0]:
                ids.append(info.axes[0])
                scales.append(module.weight.detach().abs().float().cpu())
        if not ids:
            raise LabError("importance bn_scale needs a normalization with a scale, and this model has none; use l1")
        groups = torch.cat(ids)
        scores = over_ids(groups, torch.cat(scales), len(graph), "mean")
        unseen = torch.ones(len(graph), dtype=torch.bool)
        unseen[groups[groups >= 0]] = False
        return torch.where(unseen, scores.max(), scores)
