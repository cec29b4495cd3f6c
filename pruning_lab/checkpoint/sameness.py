"""Whether a model that was built again is the same network: its modules, and every number that they compute with.

Weights' shapes do not tell it: a dilation, a slope, an eps leave no trace in them. Knows modules; nothing of files.
"""

from __future__ import annotations

import dis
import enum
import functools
import math
import sys
import types
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruning_lab.checkpoint.builder import REMEMBERED
from pruning_lab.checkpoint.trust import NO_DOWNLOADS, shown

DEEPEST = 6
"""Nested lists and objects up to which attributes are compared."""

PLAIN = (bool, int, float, complex, str, bytes, type, enum.Enum, torch.dtype, set, frozenset, range, slice, np.generic)
"""Types whose values compare as wholes."""

OF_EVERY_MODULE = frozenset(nn.Module().__dict__)


def difference(model: nn.Module, again: nn.Module) -> str:
    """The first thing in which two models differ, in words; empty if they are the same network.

    Attributes that a forward pass assigns are a model's memory and not compared, nor is a list that was filled since.
    """
    modules, others = (dict(one.named_modules(remove_duplicate=False)) for one in (model, again))
    for name in [*modules, *others]:
        one, other = modules.get(name), others.get(name)
        if one is None or other is None:
            return f"{name} is in the {'model' if other is None else 'rebuilt one'} alone"
        if not _same_class(type(one), type(other)):
            return f"{name or 'the whole'} {_told(type(one).__name__, type(other).__name__)}"
    memory = {name for kind in set(map(type, modules.values())) for name in _assigned_in_forward(kind)}
    comparison = _Comparison(set(modules.values()))
    for name, module in modules.items():
        here, there = (_attributes(one, memory) for one in (module, others[name]))
        for key in [*here, *there]:
            if what := comparison.apart(here.get(key), there.get(key)):
                return f"{name}.{key}".removeprefix(".") + f" {what}"
    return ""


def _same_class(one: type, other: type) -> bool:
    """A script's own class is another object where the script is imported by its name."""
    if one is other:
        return True
    if one.__qualname__ != other.__qualname__:
        return False
    files = [getattr(sys.modules.get(kind.__module__), "__file__", None) for kind in (one, other)]
    return one.__module__ == other.__module__ or (files[0] is not None and files[0] == files[1])


def _attributes(module: nn.Module, memory: Set[str]) -> dict[str, Any]:
    """What a module keeps beside its tensors and submodules; what only says where weights came from is left out."""
    left_out = OF_EVERY_MODULE | memory | set(NO_DOWNLOADS) | {REMEMBERED, "_flat_weights"}
    return {key: value for key, value in vars(module).items() if key not in left_out}


class _Comparison:
    """Compares values of attributes."""

    def __init__(self, modules: Set[nn.Module]) -> None:
        self.modules = modules

    def apart(self, one: Any, other: Any, depth: int = 0) -> str:
        """How two values differ, in words; empty if they do not."""
        if self._holds_unregistered(one):
            return "holds a layer that is not registered, so its weights are not saved; use nn.ModuleList or ModuleDict"
        if one is other or depth > DEEPEST:
            return ""
        if isinstance(one, Tensor) or isinstance(other, Tensor):
            return _tensors_apart(one, other)
        if isinstance(one, nn.Module) and isinstance(other, nn.Module) and _same_class(type(one), type(other)):
            return ""
        if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
            return "" if np.array_equal(one, other) else "holds other numbers in the rebuilt one"
        if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
            return self._sequences_apart(one, other, depth)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            return self._mappings_apart(one, other, depth)
        if callable(one) and callable(other) and not isinstance(one, type):
            return self._functions_apart(one, other, depth)
        if _is_plain(one) or _is_plain(other):
            return "" if _equal(one, other) else _told(one, other)
        if not _same_class(type(one), type(other)):
            return _told(type(one).__name__, type(other).__name__)
        return self._mappings_apart(getattr(one, "__dict__", {}), getattr(other, "__dict__", {}), depth)

    def _holds_unregistered(self, value: Any) -> bool:
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        layers = [item for item in inside if isinstance(item, nn.Module) and item not in self.modules]
        return any(True for layer in layers for _ in layer.parameters())

    def _sequences_apart(self, one: Sequence[Any], other: Sequence[Any], depth: int) -> str:
        if isinstance(one, list) and one and not other:  # a log that was filled since
            return ""
        if len(one) != len(other):
            return _told(one, other)
        whats = (self.apart(*pair, depth + 1) for pair in zip(one, other, strict=True))
        return next(filter(None, whats), "")

    def _mappings_apart(self, one: Mapping[Any, Any], other: Mapping[Any, Any], depth: int) -> str:
        if one and not other and depth == 0:
            return ""
        keys = [key for key in [*one, *other] if key not in NO_DOWNLOADS]
        whats = (self.apart(one.get(key), other.get(key), depth + 1) for key in dict.fromkeys(keys))
        return next(filter(None, whats), "")

    def _functions_apart(self, one: Any, other: Any, depth: int) -> str:
        if isinstance(one, functools.partial) and isinstance(other, functools.partial):
            parts = ((one.func, one.args, one.keywords), (other.func, other.args, other.keywords))
            return self._sequences_apart(*parts, depth)
        names = [getattr(function, "__qualname__", type(function).__qualname__) for function in (one, other)]
        if names[0] != names[1]:
            return _told(*(name.rpartition(".")[2] for name in names))
        if isinstance(one, types.FunctionType) and isinstance(other, types.FunctionType):
            if one.__code__.co_code != other.__code__.co_code:
                return "is another function in the rebuilt one"
            cells = [[cell.cell_contents for cell in f.__closure__ or ()] for f in (one, other)]
            defaults = [list(f.__defaults__ or ()) for f in (one, other)]
            return self._sequences_apart(cells[0] + defaults[0], cells[1] + defaults[1], depth)
        if isinstance(one, (types.MethodType, types.BuiltinFunctionType)):
            return ""
        return self._mappings_apart(getattr(one, "__dict__", {}), getattr(other, "__dict__", {}), depth + 1)


def _tensors_apart(one: Any, other: Any) -> str:
    """How two tensors differ that are neither parameters nor buffers."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return f"{_told(type(one).__name__, type(other).__name__)}; make it a buffer"
    if isinstance(one, nn.Parameter) or one.is_meta or other.is_meta:
        return "" if one.shape == other.shape and not other.is_meta else "is a large tensor; make it a buffer"
    if one.shape != other.shape or one.dtype != other.dtype or not torch.equal(one.cpu(), other.cpu()):
        return "holds another tensor in the rebuilt one; make it a buffer, or a number that the constructor takes"
    return ""


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, PLAIN)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, type) and isinstance(other, type):
        return _same_class(one, other)
    return bool(one == other)


def _told(one: Any, other: Any) -> str:
    return f"is {shown(str(one))} in the model, {shown(str(other))} in the rebuilt one"


@functools.lru_cache(maxsize=4096)
def _assigned_in_forward(kind: type) -> frozenset[str]:
    """Names of attributes that a class assigns in its forward pass, there or in its own methods that it calls."""
    methods: dict[str, types.CodeType] = {}
    for base in reversed(kind.__mro__):
        if base not in (object, nn.Module):
            own = vars(base).items()
            methods |= {name: item.__code__ for name, item in own if isinstance(item, types.FunctionType)}
    waiting, seen, assigned = ["forward"], {"__init__"}, set[str]()
    while waiting:
        if (name := waiting.pop()) in seen or name not in methods:
            continue
        seen.add(name)
        for code in _with_inner(methods[name]):
            waiting.extend(code.co_names)
            assigned.update(step.argval for step in dis.get_instructions(code) if step.opname == "STORE_ATTR")
    return frozenset(assigned)


def _with_inner(code: types.CodeType) -> list[types.CodeType]:
    inner = [one for item in code.co_consts if isinstance(item, types.CodeType) for one in _with_inner(item)]
    return [code, *inner]
