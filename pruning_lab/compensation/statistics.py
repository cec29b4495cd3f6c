"""Leaves a repaired network such that training starts from what was repaired; its answer stays the same.

New weights of a reader give outputs of another mean and variance, mostly of a smaller one, as what can't be explained
is left out. In evaluation mode that is right. But training normalizes by the batch, so its first steps would see
another network than the repaired one. New weights are also larger, step by step, as fewer inputs stand for more; and a
step of training changes large weights before a norm by less, as only their direction counts there. So each filter
before a batch norm is scaled back to the size that it had, by s, and with m, v what the norm's input has then,

    gamma' = gamma x sqrt(v + eps) / (s x sqrt(running_var + eps))
    beta'  = beta + gamma x (m / s - running_mean) / sqrt(running_var + eps)

and m, v as running statistics the norm gives what it gave before, and gives the same in training.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pruning_lab.compensation.patches import rows_as_weight, weight_rows, with_doubles
from pruning_lab.compensation.readers import Reader

_NO_SIZE = 1e-12

Sums = tuple[Tensor, Tensor, int]
"""Sum and sum of squares of each channel, float64 [channels], and over how many values."""


class Statistics:
    """Watches what the batch norms behind readers see, those that have parameters and running statistics.

    Args:
        readers: as the cut left them; their filters' sizes are those of now.
    """

    def __init__(self, model: nn.Module, readers: Sequence[Reader]) -> None:
        self._model = model
        self._readers = [reader for reader in readers if reader.weight is not None and _can_settle(reader.norm)]
        self._sizes = {reader.layer: _sizes_of(self._module(reader)) for reader in self._readers}
        self._sums: dict[nn.Module, Sums] = {}

    def _module(self, reader: Reader) -> nn.Module:
        return self._model.get_submodule(reader.names[0])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count what the norms see meanwhile; what was seen before is forgotten."""
        self._sums.clear()
        norms = [reader.norm for reader in self._readers if reader.norm is not None]
        handles = [norm.register_forward_pre_hook(self._seen) for norm in norms]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _seen(self, norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        values = with_doubles(inputs[0])
        over = [dim for dim in range(values.dim()) if dim != 1]
        total, squares = values.sum(over, dtype=torch.float64), values.square().sum(over, dtype=torch.float64)
        before, before_squares, count = self._sums.get(norm, (0.0, 0.0, 0))
        self._sums[norm] = (total + before, squares + before_squares, count + values.numel() // len(total))

    @torch.no_grad()
    def settle(self, repaired: Collection[str]) -> None:
        """Bring the filters of these readers back to their sizes; their norms then give what they gave."""
        for reader in self._readers:
            if reader.layer in repaired and reader.norm in self._sums:
                total, squares, count = self._sums[reader.norm]
                mean = total / count
                variance = (squares / count - mean.square()).clamp(min=0)
                if bool((mean + variance).isfinite().all()):
                    _settle(reader.norm, mean, variance, self._scaled_back(reader).to(mean))

    def _scaled_back(self, reader: Reader) -> Tensor:
        """By what each filter was scaled, [channels]."""
        module, sizes = self._module(reader), self._sizes[reader.layer]
        now = _sizes_of(module)
        usable = (sizes > _NO_SIZE) & (now > _NO_SIZE) & now.isfinite()
        scale = torch.where(usable, sizes / now.clamp(min=_NO_SIZE), 1.0)
        assert reader.weight is not None
        reader.weight.copy_(rows_as_weight(module, weight_rows(module) * scale.unsqueeze(2)))
        return scale.flatten()


def _sizes_of(module: nn.Module) -> Tensor:
    """The norm of each filter's weights, [groups, filters per group]."""
    return weight_rows(module).detach().norm(dim=2)


def _can_settle(norm: nn.Module | None) -> bool:
    if not isinstance(norm, _BatchNorm):
        return False
    tensors = (norm._parameters.get("weight"), norm._parameters.get("bias"), norm.running_mean, norm.running_var)
    return all(isinstance(tensor, Tensor) for tensor in tensors)


def _settle(norm: nn.Module, mean: Tensor, variance: Tensor, scale: Tensor) -> None:
    """`mean`, `variance` of what it sees without `scale`."""
    assert isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    deviation = (with_doubles(norm.running_var).double() + norm.eps).sqrt()
    factor = with_doubles(norm.weight).double() / deviation
    norm.bias.add_((factor * (mean - with_doubles(norm.running_mean).double())).to(norm.bias))
    norm.weight.copy_(factor * (variance * scale.square() + norm.eps).sqrt() / scale)
    norm.running_mean.copy_(mean * scale)
    norm.running_var.copy_(variance * scale.square())
