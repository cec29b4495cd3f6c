"""Sees where a model's own code asks a tensor for its sizes, or takes its values out of torch. Knows no channels.

Operators show themselves to the recorder; `if x.shape[1] != 64` is Python and does not. What torch's own functions ask
is torch's affair: they work at any size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Note = Callable[[Tensor, tuple[int, ...]], None]
"""Is told which tensor was asked, and for the sizes of which of its dimensions."""


class SizeReads(TorchFunctionMode):
    """Tells `note` of every size that runs into Python, while it is entered."""

    def __init__(self, note: Note) -> None:
        super().__init__()
        self.note = note

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        told = _TOLD.get(func)
        return result if told is None else told(self.note, args, kwargs or {}, result)


def _shape(note: Note, args: tuple, kwargs: dict, result: Any) -> Any:
    return _Sizes(result, args[0], note)


def _size(note: Note, args: tuple, kwargs: dict, result: Any) -> Any:
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    if dim is None:
        return _Sizes(result, args[0], note)
    note(args[0], (int(dim) % max(args[0].ndim, 1),))
    return result


def _first(note: Note, args: tuple, kwargs: dict, result: Any) -> Any:
    note(args[0], (0,))
    return result


def _all(note: Note, args: tuple, kwargs: dict, result: Any) -> Any:
    note(args[0], tuple(range(args[0].ndim)))
    return result


def _attention(note: Note, args: tuple, kwargs: dict, result: Any) -> Any:
    """It compares its input's width with a number."""
    for item in [*args, *kwargs.values()]:
        if isinstance(item, Tensor):
            note(item, tuple(range(item.ndim)))
    return result


class _Sizes(tuple):
    """A tensor's sizes, or a slice of them, which tells when Python looks at some. Operators may take it untold.

    `torch.Size` can't be derived from; what is asked of this one, a `torch.Size` of the same numbers answers.
    """

    tensor: Tensor
    note: Note
    dims: tuple[int, ...]

    def __new__(cls, sizes: tuple[int, ...], tensor: Tensor, note: Note, dims: tuple[int, ...] | None = None) -> _Sizes:
        made = super().__new__(cls, sizes)
        made.tensor, made.note = tensor, note
        made.dims = tuple(range(len(sizes))) if dims is None else dims
        return made

    def told(self, dims: tuple[int, ...] | None = None) -> torch.Size:
        """The numbers, once it has been noted that they are looked at."""
        self.note(self.tensor, self.dims if dims is None else dims)
        return torch.Size(tuple.__getitem__(self, slice(None)))

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return _Sizes(tuple.__getitem__(self, place), self.tensor, self.note, self.dims[place])
        self.told((self.dims[place],))
        return tuple.__getitem__(self, place)

    def __radd__(self, other: Any) -> Any:
        return (*other, *self.told())


def _telling(name: str) -> Any:
    def method(self: _Sizes, *args: Any) -> Any:
        return getattr(self.told(), name)(*args)

    return method


for _name in ("__iter__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__contains__"):
    setattr(_Sizes, _name, _telling(_name))
for _name in ("__add__", "__mul__", "__rmul__", "__repr__", "__str__", "__format__", "numel", "index", "count"):
    setattr(_Sizes, _name, _telling(_name))

_OF_ALL = (
    Tensor.numel,
    Tensor.nelement,
    Tensor.stride,
    Tensor.nbytes.__get__,  # type: ignore[attr-defined]
    Tensor.numpy,
    Tensor.__array__,
    Tensor.tolist,
    Tensor.data_ptr,
    Tensor.untyped_storage,
    Tensor.storage,
    Tensor.__dlpack__,
    torch.numel,
)
"""What tells of all dimensions at once, or gives values to code that no recorder sees."""

_TOLD: dict[Any, Callable[[Note, tuple, dict, Any], Any]] = {
    Tensor.shape.__get__: _shape,  # type: ignore[attr-defined]
    Tensor.size: _size,
    Tensor.__len__: _first,
    torch.nn.functional.multi_head_attention_forward: _attention,
    **dict.fromkeys(_OF_ALL, _all),
}
"""What tells of sizes, and what is made of it."""
