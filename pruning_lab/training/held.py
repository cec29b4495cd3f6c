"""What a network and an optimizer hold, as tensors and plain data, and back. Must not know of runs or files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pruning_lab.common.errors import LabError


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer once, on the CPU, also buffers that a state dict leaves out."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named}


@torch.no_grad()
def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors that `tensors_of` gave into a network of the same shapes.

    Raises:
        LabError: they are another network's.
    """
    named = dict([*model.named_parameters(), *model.named_buffers()])
    strange = sorted(named.keys() ^ tensors.keys()) or [n for n in named if named[n].shape != tensors[n].shape]
    if strange:
        raise LabError(f"{strange[0]} is not the same in the network and in its saved weights")
    for name, tensor in named.items():
        tensor.copy_(tensors[name])


def optimizer_parts(optimizer: Optimizer) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An optimizer's settings and numbers as plain data, and its tensors: `number of the parameter/name` -> tensor."""
    whole = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for parameter, items in whole["state"].items():
        for name, value in items.items():
            key = f"{parameter}/{name}"
            if isinstance(value, Tensor):
                tensors[key] = value.detach().cpu().contiguous().clone()
            else:
                numbers[key] = value
    return {"groups": whole["param_groups"], "numbers": numbers}, tensors


def load_optimizer(optimizer: Optimizer, plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer of the same parameters what `optimizer_parts` took.

    Raises:
        LabError: it is for other parameters.
    """
    state = by_number({**plain["numbers"], **tensors})
    pairs = zip(optimizer.param_groups, plain["groups"], strict=False)
    groups = [{name: _like(fresh.get(name), value) for name, value in saved.items()} for fresh, saved in pairs]
    try:
        optimizer.load_state_dict({"state": dict(state), "param_groups": groups})
    except ValueError as error:
        raise LabError(f"the optimizer is not the one that the state was saved with ({error})") from error


def by_number(named: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """`number/name` -> value, as number -> name -> value."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for key, value in named.items():
        number, _, name = key.partition("/")
        found[int(number)][name] = value
    return found


def _like(fresh: Any, value: Any) -> Any:
    """A setting that went through JSON, which knows no tuples."""
    return tuple(value) if isinstance(fresh, tuple) else value
