"""A method's scores of a model, also where some of its weights are not finite. Knows the contract, and no formula.

One NaN runs through means, sums and activations, so that it would take the scores of all other groups with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, Importance, check_scores
from pruning_lab.importance.weights.kernels import filter_weights


def score(method: Importance, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
    """The scores of every group, float [n_groups], checked.

    Groups that hold weights which are not finite have none, and stay; the others are scored as if these weights were 0.

    Raises:
        LabError: the method broke the contract, or no group has a score.
    """
    broken = _broken(model, graph)
    if broken is None:
        return check_scores(method(model, graph, batches), graph, method)
    with _finite(model):
        scores = method(model, graph, batches)
    if isinstance(scores, Tensor) and scores.shape == broken.shape:
        scores = scores.detach().float().cpu().masked_fill(broken, torch.nan)
    return check_scores(scores, graph, method)


def _broken(model: nn.Module, graph: ChannelGraph) -> Tensor | None:
    """bool [n_groups], groups of whose weights some are not finite; None if all are."""
    if all(_is_finite(tensor) for tensor in _floats(model)):
        return None
    broken = torch.zeros(len(graph), dtype=torch.bool)
    for layer, kernel in filter_weights(model, graph).items():
        ids = graph.layers[layer][~kernel.flatten(1).isfinite().all(1).cpu()]
        broken[ids[ids >= 0]] = True
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, info in graph.tensors.items():
        if len(info.shape) == 1 and 0 in info.axes and tensors[name].is_floating_point():
            ids = info.axes[0][~tensors[name].isfinite().cpu()]
            broken[ids[ids >= 0]] = True
    return broken


@contextmanager
def _finite(model: nn.Module) -> Iterator[None]:
    """Zeros inside for what is not finite; at the end the weights are what they were, bit for bit."""
    changed = [(tensor, tensor.detach().clone()) for tensor in _floats(model) if not _is_finite(tensor)]
    with torch.no_grad():
        for tensor, _ in changed:
            tensor.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, before in changed:
                tensor.copy_(before)


def _floats(model: nn.Module) -> list[Tensor]:
    return [tensor for tensor in [*model.parameters(), *model.buffers()] if tensor.is_floating_point()]


def _is_finite(tensor: Tensor) -> bool:
    """By its sum, which is quick and not finite as soon as an entry is not."""
    return bool(tensor.detach().sum(dtype=torch.float64).isfinite())
