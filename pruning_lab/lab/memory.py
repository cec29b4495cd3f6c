"""What an importance method remembers, as tensors. Must not know of runs or files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.training.held import by_number


@runtime_checkable
class Remembers(Protocol):
    """An importance method, or a part of one, that remembers something of earlier steps."""

    def state_dict(self) -> dict[str, Tensor]:
        """All that it remembers."""

    def load_state_dict(self, state: dict[str, Tensor]) -> Any:
        """Take up a memory where `state_dict` left it."""


def memory_of(method: object) -> dict[str, Tensor]:
    """What an importance method and the methods that it is made of remember: `number of the part/name` -> tensor.

    Raises:
        LabError: it is no tensor.
    """
    memory = {}
    for number, part in enumerate(_that_remember(method, set())):
        for name, tensor in part.state_dict().items():
            if not isinstance(tensor, Tensor):
                raise LabError(f"importance {type(part).__name__}: state_dict() may hold tensors alone, {name} is none")
            memory[f"{number}/{name}"] = tensor.detach().cpu().contiguous()
    return memory


def load_memory(method: object, memory: Mapping[str, Tensor]) -> None:
    """Give a method, built as the one that remembered, its memory."""
    found = by_number(memory)
    for number, part in enumerate(_that_remember(method, set())):
        part.load_state_dict(found[number])


def _that_remember(thing: object, seen: set[int]) -> Iterator[Remembers]:
    """The parts of a method that remember something, itself first; each once, in the order of its attributes."""
    if id(thing) in seen or isinstance(thing, type):
        return
    seen.add(id(thing))
    if isinstance(thing, Remembers):
        yield thing
    if isinstance(thing, nn.Module):
        return
    parts = thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, list | tuple) else ()
    attributes = vars(thing).values() if callable(thing) and hasattr(thing, "__dict__") else ()
    for part in (*parts, *attributes):
        if callable(part) or isinstance(part, Mapping | list | tuple):
            yield from _that_remember(part, seen)
