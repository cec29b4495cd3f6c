"""Turns a convolution of a concatenation into a sum of convolutions, one for each part. Knows exported graphs only.

The same multiplications, added up in another order: but where only some parts change, the others' sums can be kept.
In a U-Net's decoder that is half of what each level reads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

aten = torch.ops.aten

Pieces = dict[fx.Node, tuple[int, int]]
"""Convolution of one part -> the range of the original's input channels that it reads."""

_SPLITTABLE = {aten.conv1d.default, aten.conv2d.default, aten.conv3d.default}


def split_concatenations(exported: ExportedProgram) -> Pieces:
    """Rewrite the graph in place; concatenations of concatenations are split to the last part."""
    pieces: Pieces = {}
    waiting = [node for node in exported.graph.nodes if node.target in _SPLITTABLE]
    while waiting:
        node = waiting.pop()
        if _reads_concatenation(node):
            parts = _split(exported.graph, node, *pieces.pop(node, (0, 0)))
            pieces.update(parts)
            waiting.extend(parts)
    return pieces


def _reads_concatenation(node: fx.Node) -> bool:
    source, weight = _node(node.args[0]), _node(node.args[1])
    if source.target is not aten.cat.default or source.args[1:] != (1,):
        return False
    return _channels(source) == _channels(weight)


def _split(graph: fx.Graph, node: fx.Node, first: int, _: int) -> Pieces:
    """Replace one convolution, whose input channels start at `first`, by a sum; its bias goes to the first part."""
    weight, bias = _node(node.args[1]), node.args[2] if len(node.args) > 2 else None
    pieces: Pieces = {}
    total: fx.Node | None = None
    start = 0
    with graph.inserting_before(node):
        for part in _parts(_node(node.args[0])):
            stop = start + _channels(part)
            share = _added(graph, aten.slice.Tensor, (weight, 1, start, stop), weight.meta["val"][:, start:stop])
            operands = (part, share, bias if total is None else None, *node.args[3:])
            one = _added(graph, node.target, operands, node.meta["val"])
            total = one if total is None else _added(graph, aten.add.Tensor, (total, one), node.meta["val"])
            pieces[one] = (first + start, first + stop)
            start = stop
    node.replace_all_uses_with(_node(total))
    graph.erase_node(node)
    return pieces


def _node(argument: Any) -> fx.Node:
    assert isinstance(argument, fx.Node)
    return argument


def _parts(concatenation: fx.Node) -> list[fx.Node]:
    listed: Any = concatenation.args[0]
    return list(listed)


def _channels(node: fx.Node) -> int:
    """The size of a value's second dimension."""
    return int(node.meta["val"].shape[1])


def _added(graph: fx.Graph, target: Any, args: tuple[Any, ...], value: Any) -> fx.Node:
    node = graph.call_function(target, args)
    node.meta["val"] = value
    return node
