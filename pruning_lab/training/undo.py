"""Keeps what a training step changes, so that the step can be undone. Knows no loss, no batch and no schedule."""

import copy
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Copies:
    """Copies of some tensors, in memory that is used again as long as the tensors keep their shapes."""

    def __init__(self) -> None:
        self._copies: list[Tensor] = []
        self._forms: list[Any] = []

    def take(self, tensors: Iterable[Tensor]) -> None:
        """Keep what the tensors hold now, in place of what was kept."""
        found = list(tensors)
        forms = [(tensor.shape, tensor.stride(), tensor.dtype, tensor.device) for tensor in found]
        if forms != self._forms:
            self._copies, self._forms = [torch.empty_like(tensor) for tensor in found], forms
        _copy(found, self._copies)

    def put_back(self, tensors: Iterable[Tensor]) -> None:
        """Write what was kept into the tensors, which are given in the same order."""
        _copy(self._copies, list(tensors))


class BeforeUpdate:
    """What one update of an optimizer changes: its parameters, its memory of them, and its rates."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._parameters, self._memory = Copies(), Copies()
        self._entries: dict[Tensor, dict[str, Any]] = {}
        self._rates: list[dict[str, Any]] = []

    def take(self) -> None:
        """Keep all as it is now. No wait for the device: the copies are made on it, in their turn."""
        self._parameters.take(self._all_parameters())
        self._entries = {
            parameter: {key: _kept(item) for key, item in entry.items()}
            for parameter, entry in self._optimizer.state.items()
        }
        self._memory.take(_tensors_of(self._entries))
        self._rates = [
            {key: item.clone() if isinstance(item, Tensor) else item for key, item in group.items() if key != "params"}
            for group in self._optimizer.param_groups
        ]

    def put_back(self) -> None:
        """Make all as it was, bit for bit; what the optimizer did not remember then, it forgets."""
        self._parameters.put_back(self._all_parameters())
        self._memory.put_back(_tensors_of(self._entries))
        self._optimizer.state.clear()
        self._optimizer.state.update(self._entries)
        for group, rates in zip(self._optimizer.param_groups, self._rates, strict=True):
            group.update(rates)

    def _all_parameters(self) -> list[Tensor]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]


def _kept(item: Any) -> Any:
    """Tensors stay themselves, as what they hold is kept in `Copies`; all else is copied."""
    return item if isinstance(item, Tensor) else copy.deepcopy(item)


def _tensors_of(entries: dict[Tensor, dict[str, Any]]) -> list[Tensor]:
    return [item for entry in entries.values() for item in entry.values() if isinstance(item, Tensor)]


@torch.no_grad()
def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    """Write each source into its target: a launch or two for each kind of tensor, and not one for each tensor."""
    kinds: dict[Any, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
    for source, target in zip(sources, targets, strict=True):
        own, others = kinds[target.dtype, target.device]
        own.append(target)
        others.append(source)
    for own, others in kinds.values():
        torch._foreach_copy_(own, others)
