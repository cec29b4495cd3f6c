"""Copies of models that leave the original as it is, whatever is done to them. Knows torch, and nothing of channels."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pruning_lab.common.modules import every_path


def copy_of(model: nn.Module) -> nn.Module:
    """A deep copy, also of models that keep computed tensors: weights that hooks leave behind, or activations."""
    return _copied(model, False, {})


def light_copy_of(model: nn.Module, around: Iterable[nn.Module] = ()) -> nn.Module:
    """A deep copy whose parameters are objects of their own in the same memory: nothing may write into them.

    Args:
        around: modules that the copy may hold on to, as functions do which are bound to a module.
    """
    return _copied(model, True, {id(module): module for module in around})


def _copied(model: nn.Module, share: bool, memo: dict[int, Any]) -> nn.Module:
    modules = [module for _, module in every_path(model)]
    with torch.no_grad():
        for parameter in (one for module in modules for one in module._parameters.values()):
            if type(parameter) is nn.Parameter and id(parameter) not in memo:
                values = parameter.data if share else parameter.data.clone()
                memo[id(parameter)] = nn.Parameter(values, parameter.requires_grad)
        found = (one for module in modules for one in module._buffers.values())
        buffers = {id(one): one for one in found if type(one) is Tensor and one.is_leaf}
        memories = Counter(map(_memory, buffers.values()))
        for tensor in buffers.values():
            if memories[_memory(tensor)] == 1 and not tensor.requires_grad:
                memo[id(tensor)] = tensor.clone()
    with _Detaching():
        return _copied_module(model, memo)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


class _Detaching(TorchFunctionMode):
    """Lets `copy.deepcopy` take tensors with a history, wherever they hang; their copies have none."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.__deepcopy__ or args[0].is_leaf:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        memo[id(tensor)] = copied = tensor.detach().clone()
        return copied


def _copied_module(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """As `copy.deepcopy` does it, without its long way around for what every module has."""
    if id(module) in memo:
        found: nn.Module = memo[id(module)]
        return found
    kind: Any = type(module)
    if not _is_plain(kind):
        return copy.deepcopy(module, memo)
    made = module.__new__(type(module))
    memo[id(module)] = made
    state: dict[str, Any] = {}
    for key, value in vars(module).items():
        if type(value) in _ATOMS:
            state[key] = value
        elif key in _OF_EVERY_MODULE and not value:
            state[key] = type(value)()
        else:
            state[key] = _copied_attribute(key, value, memo)
    made.__setstate__(state)
    return made


def _copied_attribute(key: str, value: Any, memo: dict[int, Any]) -> Any:
    if type(value) is tuple and _ATOMS.issuperset(map(type, value)):
        return value
    if key in _OF_EVERY_MODULE:
        if key == "_modules":
            return type(value)(
                (name, None if child is None else _copied_module(child, memo)) for name, child in value.items()
            )
        if key in ("_parameters", "_buffers"):
            # deepcopy looks into the memo first, and a tensor that is there already costs next to nothing.
            return type(value)((name, copy.deepcopy(one, memo)) for name, one in value.items())
    return copy.deepcopy(value, memo)


@functools.cache
def _is_plain(kind: Any) -> bool:
    """Whether a class leaves copying to `nn.Module`."""
    return all(getattr(kind, name, None) is getattr(nn.Module, name, None) for name in _COPYING)


_ATOMS = {type(None), bool, int, float, str}
_OF_EVERY_MODULE = {key for key, value in vars(nn.Module()).items() if isinstance(value, (dict, set))}
_COPYING = (
    "__deepcopy__",
    "__reduce__",
    "__reduce_ex__",
    "__getstate__",
    "__getnewargs__",
    "__getnewargs_ex__",
)
