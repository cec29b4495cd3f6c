"""How much memory a network's values take while it runs, in closed form. Knows exported graphs and rows of group ids.

A value is what an operator of the exported graph gives out in memory of its own; views, and results of operators that
work in place, are no values. It is alive from the operator that makes it to the last one that reads it or a view of
it; the model's inputs, which the caller holds, are alive all the time, its outputs to the end. Not counted: parameters
and buffers, what an operator takes for itself while it runs, and what Python holds longer than anything reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from pruning_lab.graph.structure.memory import NONE, LiveValues
from pruning_lab.graph.tracing.labelled import Labelled


def live_values(
    program: ExportedProgram, values: Mapping[fx.Node, Any], group_of_label: Tensor, known: Iterator[Tensor]
) -> LiveValues:
    """Read sizes and lifetimes off an exported graph.

    Args:
        values: what the interpreter found for every node.
        group_of_label: int64 [labels], group ids, negative for labels of no group.
        known: rows of group ids that exist already; equal ones are used again.
    """
    rows = _Rows(known)
    found: dict[int, _Life] = {}
    given = _given(program)
    held = {storage for node in given for _, storage in _storages(node)}
    final = len(program.graph.nodes) - 1
    for number, node in enumerate(program.graph.nodes):
        for source in node.all_input_nodes:
            for _, storage in _storages(source):
                if storage in found:
                    found[storage].last = max(found[storage].last, number)
        for index, (tensor, storage) in enumerate(_storages(node)):
            if storage not in found and storage not in held:
                value = _value_of(values.get(node), index)
                size, factors = _size(tensor, value, group_of_label)
                from_caller = node.op == "placeholder"
                found[storage] = _Life(size, [rows(f) for f in factors], number, final if from_caller else number)
    return _packed(list(found.values()), tuple(rows.kept))


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


def _given(program: ExportedProgram) -> list[fx.Node]:
    """What a pass neither makes nor is handed by its caller: parameters, buffers and constants."""
    kinds = {spec.arg.name: spec.kind for spec in program.graph_signature.input_specs if hasattr(spec.arg, "name")}
    nodes = program.graph.nodes
    return [
        node
        for node in nodes
        if node.op == "get_attr" or (node.op == "placeholder" and kinds.get(node.name) != InputKind.USER_INPUT)
    ]


def _storages(node: fx.Node) -> Iterator[tuple[Tensor, int]]:
    """Each tensor that a node gives out, as traced, with the identity of the memory that it lies in."""
    item = node.meta.get("val")
    for tensor in item if isinstance(item, (tuple, list)) else (item,):
        if isinstance(tensor, Tensor) and tensor.layout == torch.strided:
            yield tensor, tensor.untyped_storage()._cdata


def _value_of(found: Any, index: int) -> Labelled | None:
    if isinstance(found, (tuple, list)):
        found = found[index] if index < len(found) else None
    return found if isinstance(found, Labelled) else None


def _size(tensor: Tensor, value: Labelled | None, group_of_label: Tensor) -> tuple[int, list[Tensor]]:
    """Bytes for one entry of each of the rows on which a value's size depends, and these rows."""
    whole = tensor.untyped_storage().nbytes()
    if value is None or value.shape != tuple(tensor.shape):
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
