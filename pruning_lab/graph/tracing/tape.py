"""What a recorded forward pass looks like: its operators in order, without effects. Knows no labels and no channels.

A step is an operator as it ran, or a tensor from which the pass starts. What writes into a tensor stands here as an
operator that gives out a new one (see `written`), so that each step's result is the same from then on.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@dataclass(slots=True)
class Facts:
    """A tensor's sizes and type, and the memory that it lies in: views of one tensor share it.

    Attributes:
        memory: the number of that memory, as the recorder counts.
        memory_bytes: how large it is.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    memory: int
    memory_bytes: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(eq=False, slots=True)
class Step:
    """An operator that ran, or (without a target) a tensor that was there before.

    Attributes:
        target: the operator; None for a tensor that was there before.
        args, kwargs: as it was called, with the steps that made them in place of tensors.
        sources: the distinct steps among these.
        result: facts of the tensor that it gave out, a list where it gave out several, else the value itself.
        module: path of the module whose forward called it; empty for the model itself.
        name: of the parameter or buffer, for one that was there before.
        constant: any other tensor that was there before and is no input.
    """

    target: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    sources: tuple[Step, ...] = ()
    result: Any = None
    module: str = ""
    name: str = ""
    constant: Tensor | None = None

    @property
    def shapes(self) -> Any:
        """The sizes of the result: a tuple of ints, or a list of them where it gave out several tensors."""
        if isinstance(self.result, Facts):
            return self.result.shape
        return [item.shape for item in self.result]

    @property
    def described(self) -> str:
        """`add in layer1.0`, by the module whose forward called the operator."""
        return _described(self.target, self.module)

    def facts(self) -> tuple[Facts, ...]:
        """Facts of every tensor that it gave out."""
        result = self.result
        if isinstance(result, Facts):
            return (result,)
        return tuple(one for one in result if isinstance(one, Facts)) if isinstance(result, list) else ()

    def __repr__(self) -> str:
        return f"Step({self.name or self.described})"


@functools.lru_cache(maxsize=4096)
def _described(target: Any, module: str) -> str:
    name = target.__name__ if callable(target) and not hasattr(target, "_opname") else ""
    name = name or str(getattr(target, "_opname", "tensor"))
    return f"{name} in {module}" if module else name


@dataclass(frozen=True, slots=True)
class SizeRead:
    """The model's own code, in the forward of `module`, asked how long a tensor is along `dims`."""

    step: Step
    dims: tuple[int, ...]
    module: str


UNKNOWN = object()
"""In what a module is given or gives: neither a tensor that the tape knows nor a plain value."""


@dataclass(eq=False, slots=True)
class Call:
    """A run of a module's forward.

    Attributes:
        module: the module's path.
        first, behind: places on the tape of the first step that ran in it, and of the first one that ran after it.
        args, kwargs, result: what it was given and gave, with steps in place of tensors, and UNKNOWN for what is
            neither a tensor nor plain.
    """

    module: str
    first: int
    behind: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    @property
    def given(self) -> tuple[Step, ...]:
        """The distinct steps among its arguments."""
        return tuple(dict.fromkeys(leaves((self.args, self.kwargs), Step)))


@dataclass(eq=False)
class Tape:
    """A recorded forward pass.

    Attributes:
        steps: in the order in which they ran, tensors that were there before among them.
        inputs: the model's inputs, in their order.
        outputs: the tensors that it returned, as a flat list.
        writes_parameters: whether an operator wrote into a parameter.
        size_reads: where Python code saw a size.
        calls: of modules without hooks, in the order in which they ended.
    """

    steps: list[Step] = field(default_factory=list)
    inputs: list[Step] = field(default_factory=list)
    outputs: list[Step] = field(default_factory=list)
    writes_parameters: bool = False
    size_reads: list[SizeRead] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


def replaced(tree: Any, of: Callable[[Step], Any]) -> Any:
    """Nested arguments, with something else in place of every step."""
    if isinstance(tree, Step):
        return of(tree)
    if isinstance(tree, (list, tuple)):
        return type(tree)([replaced(item, of) for item in tree])
    if isinstance(tree, dict):
        return {key: replaced(item, of) for key, item in tree.items()}
    return tree


def leaves(tree: Any, kind: type[T]) -> Iterator[T]:
    """All values of a kind in nested arguments or results."""
    if isinstance(tree, kind):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for leaf in tree:
            yield from leaves(leaf, kind)
    elif isinstance(tree, dict):
        for leaf in tree.values():
            yield from leaves(leaf, kind)


def ancestors(steps: list[Step]) -> set[Step]:
    """All steps on which these depend, themselves included."""
    seen, waiting = set(steps), list(steps)
    while waiting:
        for source in waiting.pop().sources:
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return seen


def item(values: Any, place: int) -> Any:
    """One of several tensors that an operator gave out."""
    return values[place]


def written(base: Tensor, part: Tensor, view: Any, place: int | None, args: tuple, kwargs: dict) -> Tensor:
    """`base`, with the values of `part` where `view(base, *args, **kwargs)` looks; as an operator without effects.

    Args:
        place: which of the views, where the operator gives out several.
    """
    positions = torch.arange(base.numel(), device=base.device).view(base.shape)
    seen = view(positions, *args, **kwargs)
    seen = seen if place is None else seen[place]
    flat = base.reshape(-1).scatter(0, seen.reshape(-1), part.reshape(-1))
    return flat.view(base.shape)


@functools.cache
def without_effect(operator: Any) -> Any:
    """The twin of an operator that writes into its argument, which gives the result out instead; else itself."""
    if operator in _TWINS:
        return _TWINS[operator]
    namespace, name = operator._schema.name.split("::")
    twin = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    if not name.endswith("_") or twin is None:
        return operator
    taken = _arguments_of(operator)
    for overload in sorted(twin.overloads(), key=lambda overload: overload != operator._overloadname):
        other = getattr(twin, overload)
        if not other._schema.is_mutable and _arguments_of(other) == taken:
            return other
    return operator


def _arguments_of(operator: Any) -> list[tuple[str, str]]:
    return [(argument.name, str(argument.type)) for argument in operator._schema.arguments]


_TWINS = {torch.ops.aten.normal_.default: torch.ops.aten.normal_functional.default}
"""Twins that go by another name."""
