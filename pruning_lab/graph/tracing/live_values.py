"""How much memory a network's values take while it runs, in closed form. Knows tapes and rows of group ids.

A value is what a recorded operator gives out in memory of its own; views, and results of operators that
work in place, are no values. It is alive from the operator that makes it to the last one that reads it or a view of
it; the model's inputs, which the caller holds, are alive all the time, its outputs to the end. Not counted: parameters
and buffers, what an operator takes for itself while it runs, and what Python holds longer than anything reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from pruning_lab.graph.structure.memory import NONE, LiveValues
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.tape import Facts, Step, Tape


def live_values(tape: Tape, values: Mapping[Step, Any], group_of_label: Tensor, known: Iterator[Tensor]) -> LiveValues:
    """Read sizes and lifetimes off a tape.

    Args:
        values: what the interpreter found for every step.
        group_of_label: int64 [labels], group ids, negative for labels of no group.
        known: rows of group ids that exist already; equal ones are used again.
    """
    rows = _Rows(known)
    found: dict[int, _Life] = {}
    given = set(tape.inputs)
    held = {facts.memory for step in tape.steps if step.target is None and step not in given for facts in step.facts()}
    final = len(tape.steps)
    for number, step in enumerate(tape.steps):
        _use(found, step.sources, number)
        for place, facts in enumerate(step.facts()):
            if facts.memory not in found and facts.memory not in held:
                size, factors = _size(facts, _value_of(values.get(step), place), group_of_label)
                last = final if step in given else number
                found[facts.memory] = _Life(size, [rows(f) for f in factors], number, last)
    _use(found, tape.outputs, final)
    return _packed(list(found.values()), tuple(rows.kept))


def _use(found: dict[int, _Life], steps: Iterable[Step], number: int) -> None:
    for step in steps:
        for facts in step.facts():
            if facts.memory in found:
                found[facts.memory].last = max(found[facts.memory].last, number)


@dataclass
class _Life:
    bytes_each: int
    factors: list[int]
    born: int
    last: int


class _Rows:
    """Numbers for distinct rows, in the order in which they are first asked for."""

    def __init__(self, known: Iterator[Tensor]) -> None:
        self._known = {row.numpy().tobytes(): row for row in {id(row): row for row in known}.values()}
        self._number: dict[bytes, int] = {}
        self.kept: list[Tensor] = []

    def __call__(self, row: Tensor) -> int:
        key = row.numpy().tobytes()
        if key not in self._number:
            self._number[key] = len(self.kept)
            self.kept.append(self._known.setdefault(key, row))
        return self._number[key]


def _value_of(found: Any, index: int) -> Labelled | None:
    if isinstance(found, (tuple, list)):
        found = found[index] if index < len(found) else None
    return found if isinstance(found, Labelled) else None


def _size(facts: Facts, value: Labelled | None, group_of_label: Tensor) -> tuple[int, list[Tensor]]:
    """Bytes for one entry of each of the rows on which a value's size depends, and these rows."""
    whole = facts.memory_bytes
    if value is None or value.shape != facts.shape:
        return whole, []
    rows = [group_of_label[labels] for _, labels in sorted(value.axes.items())]
    rows = [row for row in rows if bool((row >= 0).any())]
    number = math.prod(len(row) for row in rows)
    return (whole // number, rows) if number and whole % number == 0 else (whole, [])


def _packed(lives: list[_Life], rows: tuple[Tensor, ...]) -> LiveValues:
    most = max((len(life.factors) for life in lives), default=0)
    factors = np.full((len(lives), most), NONE, dtype=np.int64)
    for index, life in enumerate(lives):
        factors[index, : len(life.factors)] = life.factors
    numbers = np.array([(life.bytes_each, life.born, life.last) for life in lives], dtype=np.int64).reshape(-1, 3)
    return LiveValues(numbers[:, 0], factors, numbers[:, 1], numbers[:, 2], rows)
