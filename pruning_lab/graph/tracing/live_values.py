"""How much memory a network's values take while it runs, in closed form. Knows tapes and rows of group ids.

A value is what a recorded operator gives out in memory of its own; views, and results of operators that
work in place, are no values. It is alive from the operator that makes it to the last one that reads it or a view of
it; the model's inputs, which the caller holds, are alive all the time, its outputs to the end. Not counted: parameters
and buffers, what an operator takes for itself while it runs, and what Python holds longer than anything reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from pruning_lab.graph.structure.memory import NONE, LiveValues
from pruning_lab.graph.tracing.group_ids import GroupIds
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.tape import Facts, Step, Tape


def live_values(tape: Tape, values: Mapping[Step, Any], ids: GroupIds) -> LiveValues:
    """Read sizes and lifetimes off a tape.

    Args:
        values: what the interpreter found for every step.
        ids: the groups of the labels.
    """
    rows: dict[int, tuple[int, Tensor]] = {}
    found: dict[int, _Life] = {}
    given = set(tape.inputs)
    held = {facts.memory for step in tape.steps if step.target is None and step not in given for facts in step.facts()}
    final = len(tape.steps)
    for number, step in enumerate(tape.steps):
        _use(found, step.sources, number)
        for place, facts in enumerate(step.facts()):
            if facts.memory not in found and facts.memory not in held:
                size, factors = _size(facts, _value_of(values.get(step), place), ids)
                last = final if step in given else number
                found[facts.memory] = _Life(
                    size, [rows.setdefault(id(f), (len(rows), f))[0] for f in factors], number, last
                )
    _use(found, tape.outputs, final)
    return _packed(list(found.values()), tuple(row for _, row in rows.values()))


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


def _value_of(found: Any, index: int) -> Labelled | None:
    if isinstance(found, (tuple, list)):
        found = found[index] if index < len(found) else None
    return found if isinstance(found, Labelled) else None


def _size(facts: Facts, value: Labelled | None, ids: GroupIds) -> tuple[int, list[Tensor]]:
    """Bytes for one entry of each of the rows on which a value's size depends, and these rows."""
    whole = facts.memory_bytes
    if value is None or value.shape != facts.shape:
        return whole, []
    rows = [row for _, row in sorted(ids.moving(value.axes).items())]
    number = math.prod(row.shape[0] for row in rows)
    return (whole // number, rows) if number and whole % number == 0 else (whole, [])


def _packed(lives: list[_Life], rows: tuple[Tensor, ...]) -> LiveValues:
    most = max((len(life.factors) for life in lives), default=0)
    factors = np.full((len(lives), most), NONE, dtype=np.int64)
    for index, life in enumerate(lives):
        factors[index, : len(life.factors)] = life.factors
    numbers = np.array([(life.bytes_each, life.born, life.last) for life in lives], dtype=np.int64).reshape(-1, 3)
    return LiveValues(numbers[:, 0], factors, numbers[:, 1], numbers[:, 2], rows)
