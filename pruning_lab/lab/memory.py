"""What an optimizer and an importance method remember, as tensors and plain data. Must not know of runs or files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from pruning_lab.common.errors import LabError


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
    found = _by_number(memory)
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
    state = _by_number({**plain["numbers"], **tensors})
    pairs = zip(optimizer.param_groups, plain["groups"], strict=False)
    groups = [{name: _like(fresh.get(name), value) for name, value in saved.items()} for fresh, saved in pairs]
    try:
        optimizer.load_state_dict({"state": dict(state), "param_groups": groups})
    except ValueError as error:
        raise LabError(f"recovery.optimizer is not the one that the state was saved with ({error})") from error


def _by_number(named: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """`number/name` -> value, as number -> name -> value."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for key, value in named.items():
        number, _, name = key.partition("/")
        found[int(number)][name] = value
    return found


def _like(fresh: Any, value: Any) -> Any:
    """A setting that went through JSON, which knows no tuples."""
    return tuple(value) if isinstance(fresh, tuple) else value
