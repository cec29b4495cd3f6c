"""Batch norm over the parts of a batch that several processes hold, as if it were in one. Knows no training.

torch has such a layer for GPUs alone; this one is plain tensor operations, and gathers on any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def norms_over_all(model: nn.Module) -> Iterator[None]:
    """Inside, the model's batch norms take their statistics over all processes' parts of a batch.

    Only how they compute is changed: weights, buffers and names stay. Layers with a forward of their own stay too.
    """
    norms = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and type(module).forward is _BatchNorm.forward
    ]
    for norm in norms:
        norm.forward = partial(_forward, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _forward(norm: _BatchNorm, values: Tensor) -> Tensor:
    if not norm.training and norm.running_mean is not None:
        return _BatchNorm.forward(norm, values)
    norm._check_input_dim(values)
    result, mean, variance, count = _OverAll.apply(values, norm.weight, norm.bias, norm.eps)
    if norm.training and norm.running_mean is not None and norm.running_var is not None:
        _remember(norm, (norm.running_mean, norm.running_var), mean, variance * count / (count - 1).clamp_min(1))
    return result


@torch.no_grad()
def _remember(norm: _BatchNorm, averages: tuple[Tensor, Tensor], mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics as torch does."""
    share: Any = norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        share = 1.0 / norm.num_batches_tracked if share is None else share
    for average, fresh in zip(averages, (mean, variance), strict=True):
        average.lerp_(fresh.to(average.dtype), share)


class _OverAll(torch.autograd.Function):
    """Values [N, channels, ...] normalized by the mean and variance of each channel over all processes."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exact = _exact(values)
        mean, variance, count = _statistics(exact)
        inverse = (variance + eps).rsqrt()
        ctx.save_for_backward(values, weight, mean, inverse, count)
        result = (exact - _across(mean, exact)) * _across(inverse, exact)
        if weight is not None and bias is not None:
            result = result * _across(weight, exact) + _across(bias, exact)
        ctx.mark_non_differentiable(mean, variance, count)
        return result.to(values.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        values, weight, mean, inverse, count = ctx.saved_tensors
        exact, gradient = _exact(values), _exact(gradients[0])
        normal = (exact - _across(mean, exact)) * _across(inverse, exact)
        own = torch.stack([gradient.sum(_places(exact)), (gradient * normal).sum(_places(exact))])
        sums = own.clone()
        dist.all_reduce(sums)
        slope = inverse if weight is None else inverse * weight
        shifts, scales = sums / count
        back = (gradient - _across(shifts, exact) - normal * _across(scales, exact)) * _across(slope, exact)
        has = weight is not None
        return back.to(values.dtype), own[1].to(weight.dtype) if has else None, own[0] if has else None, None


def _statistics(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each channel over all processes, and how many values of a channel there are."""
    places = _places(values)
    mean = values.mean(places)
    spread = (values - _across(mean, values)).square().sum(places)
    count = torch.full_like(mean, values.numel() / values.shape[1])
    own = torch.stack([count, mean, spread])
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    counts, means, spreads = torch.stack(parts).unbind(1)
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    spread = (spreads + counts * (means - mean).square()).sum(0)
    return mean, spread / total, total[:1]


def _exact(values: Tensor) -> Tensor:
    """Sums of half precision are taken in float32."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _places(values: Tensor) -> list[int]:
    return [dim for dim in range(values.dim()) if dim != 1]


def _across(channels: Tensor, values: Tensor) -> Tensor:
    return channels.view(1, -1, *[1] * (values.dim() - 2))
