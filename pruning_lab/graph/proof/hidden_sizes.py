"""Whether a model's code could use a number of channels in a way that no recording shows. Knows code, and no graph.

A cut keeps `conv.out_channels` and its kin up to date. Code that calculates with these then gives something else than
the masked model does. So does scripted code that looks at sizes: it runs outside Python.
"""

from __future__ import annotations

import dis
import functools
import inspect
import itertools
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from pruning_lab.common.modules import every_path

SIZES = frozenset(
    (
        *("out_channels", "in_channels", "groups", "out_features", "in_features", "num_features", "num_channels"),
        *("num_groups", "normalized_shape", "num_parameters"),
    )
)
"""Attributes of torch's layers that a cut sets anew."""

_OWNERS = (
    nn.modules.conv._ConvNd,
    nn.Linear,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.PReLU,
)
"""Layers with such attributes, whose own code may use them."""


def may_hide_sizes(model: nn.Module) -> bool:
    """Whether scripted code runs in a model, or code of its own that asks a layer for its account of its sizes."""
    modules = [module for _, module in every_path(model)]
    kinds: set[Any] = set(map(type, modules))
    return any(_class_hides(kind, kind.forward) for kind in kinds) or any(map(_instance_hides, modules))


@functools.cache
def _class_hides(kind: Any, forward: Any) -> bool:
    """`forward` is what the class runs now: it may be patched."""
    if issubclass(kind, torch.jit.ScriptModule):
        return True
    return _mentions(forward, kind, frozenset() if issubclass(kind, _OWNERS) else SIZES)


def _instance_hides(module: nn.Module) -> bool:
    """The same for functions that hang on one module: a patched forward, a partial, a lambda."""
    return any(_mentions(value, type(module), SIZES) for value in vars(module).values() if type(value) in _CODE)


def _mentions(code: Any, kind: type[nn.Module], names: frozenset[str]) -> bool:
    """Whether some code, or a function or a method of `kind` that it names, reads attributes of these names."""
    waiting, seen = [code], set()
    methods = {id(_bare(value)) for one in kind.__mro__ for value in vars(one).values()}
    while waiting:
        one = _bare(waiting.pop())
        if isinstance(one, torch.jit.ScriptFunction):
            return True
        if not isinstance(one, types.FunctionType) or one in seen or str(one.__module__).startswith("torch."):
            continue
        seen.add(one)
        if names & _asked_of_others(one.__code__, own=id(one) in methods):
            return True
        used = set(_names_in(one.__code__))
        waiting += [one.__globals__[name] for name in used if name in one.__globals__]
        waiting += [inspect.getattr_static(kind, name, None) for name in used]
    return False


def _bare(code: Any) -> Any:
    """The function inside a method, a property, a partial or a static method."""
    if isinstance(code, functools.partial):
        return _bare(code.func)
    if isinstance(code, property):
        return code.fget
    return getattr(code, "__func__", code)


def _asked_of_others(code: types.CodeType, own: bool) -> set[str]:
    """Names of attributes that some code reads.

    Args:
        own: leave out those of its first argument, a module that is no layer: a cut sets these of layers alone.
    """
    first = code.co_varnames[0] if own and code.co_argcount else ""
    found = {
        str(step.argval)
        for before, step in itertools.pairwise(dis.get_instructions(code))
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and not (first and _loads(before, first))
    }
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return found.union(*(_asked_of_others(part, own=False) for part in inner))


def _loads(step: dis.Instruction, name: str) -> bool:
    """Whether an instruction puts a local variable on top of the stack, alone or as the last of two."""
    last = step.argval[-1] if isinstance(step.argval, tuple) else step.argval
    return step.opname.startswith("LOAD_FAST") and last == name


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


_CODE = {types.FunctionType, types.MethodType, functools.partial, torch.jit.ScriptFunction}
