"""Records the operators of a running model onto a tape. Knows tensors and their memory, and nothing of channels.

Under `torch.inference_mode` an operator that is made of others arrives whole (a convolution, a linear layer, a batch
norm); one without a rule is taken apart. A tensor is known by its identity. Memory is known too: where one
view is written to, its base and the base's other views are new values from then on.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pruning_lab.graph.tracing.tape import UNKNOWN, Call, Facts, SizeRead, Step, Tape, item, without_effect, written

aten = torch.ops.aten


@dataclass(eq=False, slots=True)
class _Memory:
    """A piece of memory; `version` counts how often something was written to it.

    Attributes:
        key, size: what it is known by, and its bytes.
        before: a parameter that was written to, and its values before.
    """

    number: int
    key: int
    size: int
    version: int
    seen: list[_Seen]
    before: tuple[Tensor, Tensor] | None = None


@dataclass(eq=False, slots=True)
class _Seen:
    """A tensor that was met: the step that holds its value as of a version of its memory, and what it is a view of."""

    tensor: Callable[[], Tensor | None]
    step: Step
    memory: _Memory
    version: int
    base: _Seen | None = None
    view: Step | None = None
    place: int | None = None


class Recorder(TorchDispatchMode):
    """Puts every operator that runs inside it on a tape.

    Args:
        whole: whether an operator that is made of others is recorded as it is.
        names: id of a parameter or buffer -> its name.
        run: (operator, args, kwargs) -> what it gives; by default what it computes.

    Attributes:
        module: path of the module whose forward is running.
        trusted: paths of modules whose code compares sizes with nothing but what a cut keeps up to date.
    """

    def __init__(
        self, whole: Callable[[Any], bool], names: dict[int, str], run: Callable[..., Any] | None = None
    ) -> None:
        super().__init__()
        self.tape = Tape()
        self.module = ""
        self.trusted: set[str] = set()
        self._whole, self._names, self._run = whole, names, run
        self._apart: dict[int, bool] = {}  # an operator lives as long as torch does, and to hash one takes Python
        self._writes: dict[int, list[tuple[int, str]]] = {}
        self._seen: dict[int, _Seen] = {}
        self._memories: dict[int, _Memory] = {}
        self._count = 0
        self._kept: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the first operator of a process waits seconds for torch's compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if self._taken_apart(func):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        given = _tensors(args, kwargs)
        steps = {id(tensor): self.step_of(tensor) for tensor in given}
        into = self._written_to(func, args, kwargs)
        for tensor in into:
            self._save(tensor)
        result = func(*args, **kwargs) if self._run is None else self._run(func, args, kwargs)
        self._note(func, args, kwargs, given, steps, into, result)
        return result

    def add_input(self, tensor: Tensor) -> None:
        """A tensor that the model is given."""
        self.tape.inputs.append(self._start(tensor).step)

    def step_of(self, tensor: Tensor) -> Step:
        """What made a tensor's present value."""
        seen = self._seen.get(id(tensor))
        if seen is None or seen.tensor() is not tensor:
            seen = self._meet(tensor)
        return self._present(seen)

    def note_sizes(self, tensor: Tensor, dims: tuple[int, ...]) -> None:
        """Python code looks at sizes of a tensor."""
        if self.module in self.trusted:
            return
        if id(tensor) in self._seen or id(tensor) in self._names:
            self.tape.size_reads.append(SizeRead(self.step_of(tensor), dims, self.module))

    def called(self, args: tuple, kwargs: dict[str, Any]) -> tuple[int, tuple, dict[str, Any]]:
        """A module's forward begins: where on the tape, and what it is given, for `returned`."""
        given = self._known(args), self._known(kwargs)
        return len(self.tape.steps), *given

    def returned(self, called: tuple[int, tuple, dict[str, Any]], result: Any) -> None:
        """The module's forward has ended."""
        first, args, kwargs = called
        given = self._known(result)
        self.tape.calls.append(Call(self.module, first, len(self.tape.steps), args, kwargs, given))

    def _known(self, tree: Any) -> Any:
        """What a module is given or gives, as in `Call`. Tensors are not asked: they would tell that sizes are read."""
        if isinstance(tree, Tensor):
            seen = self._seen.get(id(tree))
            return UNKNOWN if seen is None or seen.tensor() is not tree else self._present(seen)
        kind = type(tree)
        if kind is tuple or kind is list:
            return kind([self._known(leaf) for leaf in tree])
        if kind is dict:
            return {key: self._known(leaf) for key, leaf in tree.items()}
        return tree if kind in _PLAIN else UNKNOWN

    def put_back(self) -> None:
        """Give parameters that were written to the values that they had."""
        for memory in self._memories.values():
            if memory.before is not None:
                parameter, values = memory.before
                parameter.copy_(values)

    def _save(self, tensor: Tensor) -> None:
        memory = self._seen[id(tensor)].memory
        first = memory.seen[0]
        if first.step.target is None and first.step.name and memory.before is None:
            held = first.tensor()
            assert held is not None
            memory.before = held, held.clone()
            self.tape.writes_parameters = True

    def _taken_apart(self, func: Any) -> bool:
        known = self._apart.get(id(func))
        if known is None:
            known = self._apart[id(func)] = not self._whole(func) and func._can_decompose()
        return known

    def _written_to(self, func: Any, args: tuple, kwargs: dict) -> list[Tensor]:
        """The tensors that an operator writes into."""
        places = self._writes.get(id(func))
        if places is None:
            places = self._writes[id(func)] = _written_arguments(func)
        found: list[Tensor] = []
        for place, name in places:
            found += _listed(args[place] if place < len(args) else kwargs.get(name))
        return found

    def _present(self, seen: _Seen) -> Step:
        """The step of a tensor as it is now; a view of memory that was written to is looked at anew."""
        if seen.version != seen.memory.version and seen.base is not None:
            base = self._present(seen.base)
            seen.step = base if seen.view is None else self._viewed(seen, base)
        seen.version = seen.memory.version
        return seen.step

    def _viewed(self, seen: _Seen, base: Step) -> Step:
        view = seen.view
        assert view is not None
        again = self._add(Step(view.target, (base, *view.args[1:]), view.kwargs, (), view.result, view.module))
        if seen.place is None:
            return again
        return self._add(Step(item, (again, seen.place), {}, (), seen.step.result, view.module))

    def _meet(self, tensor: Tensor) -> _Seen:
        """A tensor that no recorded operator gave out: a parameter, a constant, or one more way to look at memory."""
        place = _storage(tensor)
        memory = self._memories.get(place[0])
        known = [seen for seen in memory.seen if seen.tensor() is not None] if memory else []
        if not memory or not known:
            return self._start(tensor, place)
        for seen in known:
            other = seen.tensor()
            if other is not None and _geometry(other) == _geometry(tensor):
                return self._remember(tensor, self._present(seen), memory, seen)
        base = next((seen for seen in known if seen.base is None), known[0])
        step = Step(aten.as_strided.default, (self._present(base), *_geometry(tensor)[:3]))
        step.result = _facts(tensor, memory)
        return self._remember(tensor, self._add(step), memory, base, step)

    def _start(self, tensor: Tensor, place: tuple[int, int] | None = None) -> _Seen:
        memory = self._new_memory(*(place or _storage(tensor)))
        name = self._names.get(id(tensor), "")
        step = Step(None, result=_facts(tensor, memory), name=name)
        if not name:
            step.constant = tensor
        self.tape.steps.append(step)
        self._kept.append(tensor)
        return self._remember(tensor, step, memory)

    def _note(
        self,
        func: Any,
        args: tuple,
        kwargs: dict,
        given: list[Tensor],
        steps: dict[int, Step],
        into: list[Tensor],
        result: Any,
    ) -> None:
        out = [result] if isinstance(result, Tensor) else _listed(result)
        if not into and any(id(tensor) in steps for tensor in out):
            return  # an operator that had nothing to do gave back what it was given
        target = without_effect(func) if into else func
        named = {key: _as_steps(arg, steps) for key, arg in kwargs.items()}
        step = Step(target, _as_steps(args, steps), named, tuple(dict.fromkeys(steps.values())))
        if into:
            self._note_written(func, step, given, into, out)
            return
        bases = {(one := self._seen[id(tensor)]).memory.key: one for tensor in reversed(given)}
        if out and result is out[0]:
            self._note_one(step, out[0], bases)
        else:
            self._note_several(step, out, bases, result)

    def _note_one(self, step: Step, out: Tensor, bases: dict[int, _Seen]) -> None:
        """An operator that gives out a tensor; it lies in the memory of one of `bases`, or in its own."""
        key, size = _storage(out)
        base = bases.get(key)
        memory = self._new_memory(key, size) if base is None else base.memory
        step.result = _facts(out, memory)
        self._remember(out, self._add(step), memory, base, step if base is not None else None)

    def _note_several(self, step: Step, out: list[Tensor], bases: dict[int, _Seen], result: Any) -> None:
        """An operator that gives out a list or tuple, or no tensor at all."""
        several = isinstance(result, (list, tuple))
        places = [_storage(tensor) for tensor in out]
        seen = [bases.get(key) for key, _ in places]
        memories = [
            self._new_memory(*place) if base is None else base.memory for place, base in zip(places, seen, strict=True)
        ]
        facts = [_facts(tensor, memory) for tensor, memory in zip(out, memories, strict=True)]
        if several and len(facts) == len(result):
            step.result = facts
        else:
            step.result = _mixed(result, facts) if out else result
        self._add(step)
        for place, (tensor, memory, base) in enumerate(zip(out, memories, seen, strict=True)):
            own = self._add(Step(item, (step, place), result=facts[place]))
            self._remember(tensor, own, memory, base, step if base is not None else None, place)

    def _note_written(self, func: Any, step: Step, given: list[Tensor], into: list[Tensor], out: list[Tensor]) -> None:
        """An operator that changes what it is given: in place, or the way in which a tensor looks at its memory."""
        seen = [self._seen[id(tensor)] for tensor in into]
        facts = [_facts(tensor, one.memory) for tensor, one in zip(into, seen, strict=True)]
        step.result = facts[0] if len(facts) == 1 else facts
        if torch.Tag.inplace_view in func.tags:
            before = seen[0]
            before.tensor = _gone
            self._remember(into[0], self._add(step), before.memory, before, step)
            return
        self._add(step)
        for place, (one, fact) in enumerate(zip(seen, facts, strict=True)):
            own = step if len(seen) == 1 else self._add(Step(item, (step, place), result=fact))
            self._write(one, own)
        for tensor in out:  # what it gives out besides
            if all(tensor is not other for other in into):
                self._start(tensor)

    def _write(self, seen: _Seen, value: Step) -> None:
        """A tensor has a new value, and so have all of which it is a view; other views are looked at anew later."""
        chain, olds = [seen], []
        while chain[-1].base is not None:
            chain.append(chain[-1].base)
            olds.append(self._present(chain[-1]))
        seen.memory.version += 1
        seen.step, seen.version = value, seen.memory.version
        for part, base, old in zip(chain[:-1], chain[1:], olds, strict=True):
            view = part.view
            if view is None:
                base.step = part.step
            else:
                args = (old, part.step, view.target, part.place, view.args[1:], view.kwargs)
                base.step = self._add(Step(written, args, {}, (), old.result))
            base.version = base.memory.version

    def _remember(
        self,
        tensor: Tensor,
        step: Step,
        memory: _Memory,
        base: _Seen | None = None,
        view: Step | None = None,
        place: int | None = None,
    ) -> _Seen:
        seen = _Seen(weakref.ref(tensor), step, memory, memory.version, base, view, place)
        self._seen[id(tensor)] = seen
        memory.seen.append(seen)
        return seen

    def _add(self, step: Step) -> Step:
        if not step.sources:
            found: dict[Step, None] = {}
            _collect((step.args, list(step.kwargs.values())), found)
            step.sources = tuple(found)
        step.module = step.module or self.module
        self.tape.steps.append(step)
        return step

    def _new_memory(self, key: int, size: int) -> _Memory:
        self._count += 1
        self._memories[key] = memory = _Memory(self._count, key, size, 0, [])
        return memory


def _facts(tensor: Tensor, memory: _Memory) -> Facts:
    return Facts((*tensor.shape,), tensor.dtype, memory.number, memory.size)


def _gone() -> None:
    """Stands for a tensor that looks at its memory in another way now."""


def _storage(tensor: Tensor) -> tuple[int, int]:
    """The identity of a tensor's memory, and its bytes; the tensor's own, and none, where it has no memory."""
    if tensor.layout is not torch.strided:
        return -id(tensor), 0
    storage = tensor.untyped_storage()
    return storage._cdata, storage.nbytes()


def _geometry(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.dtype


def _tensors(args: tuple, kwargs: dict) -> list[Tensor]:
    found = _listed(args)
    return found + _listed(list(kwargs.values())) if kwargs else found


def _listed(tree: Any) -> list[Tensor]:
    """All tensors in nested arguments or results."""
    if isinstance(tree, Tensor):
        return [tree]
    found: list[Tensor] = []
    if isinstance(tree, (list, tuple)):
        for leaf in tree:
            if isinstance(leaf, Tensor):
                found.append(leaf)
            elif isinstance(leaf, (list, tuple)):
                found += _listed(leaf)
    return found


_MAY_HOLD = (Tensor, list, tuple)
_PLAIN = {type(None), bool, int, float, str}


def _as_steps(tree: Any, steps: dict[int, Step]) -> Any:
    if isinstance(tree, Tensor):
        return steps[id(tree)]
    if isinstance(tree, (list, tuple)):
        return type(tree)([_as_steps(leaf, steps) if isinstance(leaf, _MAY_HOLD) else leaf for leaf in tree])
    return tree


def _collect(tree: Any, found: dict[Step, None]) -> None:
    if isinstance(tree, Step):
        found[tree] = None
    elif isinstance(tree, (list, tuple)):
        for leaf in tree:
            _collect(leaf, found)


def _mixed(result: Any, facts: list[Facts]) -> Any:
    """Several results of which some are no tensors."""
    remaining = iter(facts)
    return [next(remaining) if isinstance(leaf, Tensor) else leaf for leaf in result]


def _written_arguments(func: Any) -> list[tuple[int, str]]:
    """Places and names of the arguments that an operator writes into."""
    listed = enumerate(func._schema.arguments)
    return [(place, one.name) for place, one in listed if one.alias_info is not None and one.alias_info.is_write]
