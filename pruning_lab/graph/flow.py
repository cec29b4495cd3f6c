"""Whose output reaches whom: layer to layer, past everything that is not a layer. Knows exported graphs, not channels.

Names only, so it stays true through every cut. Which of a source's channels a reader sees follows from their groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from pruning_lab.graph.interpreter import layer_name

aten = torch.ops.aten


@dataclass(frozen=True)
class Flow:
    """The output of layer `source` reaches the input of layer `reader`, through the normalisations `norms` in turn."""

    source: str
    reader: str
    norms: tuple[str, ...] = ()


Reach = dict[tuple[str, tuple[str, ...]], None]
"""(layer, normalisations since): an ordered set."""


def flows_of(program: ExportedProgram, canonical: Mapping[str, str] | None = None) -> tuple[Flow, ...]:
    """All flows of an exported graph, in the order in which the readers run.

    Args:
        canonical: name of a parameter -> the name that stands for it, where one parameter has several.
    """
    names = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    made_of: dict[fx.Node, tuple[str, ...]] = {}
    reach: dict[fx.Node, Reach] = {}
    found: dict[Flow, None] = {}
    for node in program.graph.nodes:
        inputs = node.all_input_nodes
        if node.op == "placeholder":
            if node.name in names:
                name = names[node.name]
                made_of[node] = ((canonical or {}).get(name, name),)
            elif not isinstance(node.meta.get("val"), Tensor):
                made_of[node] = ()
        elif node.op == "call_function" and all(item in made_of for item in inputs):
            made_of[node] = sum((made_of[item] for item in inputs), ())
            continue
        elif node.op == "call_function" and (layer := _layer(node, made_of)):
            for item in inputs:
                found.update({Flow(source, layer, norms): None for source, norms in reach.get(item, {})})
            reach[node] = {(layer, ()): None}
            continue
        reach[node] = _joined(node, made_of, reach)
    return tuple(found)


def _joined(node: fx.Node, made_of: dict[fx.Node, tuple[str, ...]], reach: dict[fx.Node, Reach]) -> Reach:
    joined: Reach = {}
    for item in node.all_input_nodes:
        joined.update(reach.get(item, {}))
    if node.target not in _NORMS:
        return joined
    owners = [made_of[item][0].rpartition(".")[0] for item in node.all_input_nodes if made_of.get(item)]
    return {(source, (*norms, owners[0])): None for source, norms in joined} if owners else joined


def _layer(node: fx.Node, made_of: dict[fx.Node, tuple[str, ...]]) -> str | None:
    """The name of the layer whose weight an operator applies to an activation."""
    if node.target in _CONVOLUTIONS:
        operands = node.args[1:2]
    elif node.target in _PRODUCTS:
        operands = node.args[-2:]
    else:
        return None
    for operand in operands:
        if isinstance(operand, fx.Node) and made_of.get(operand):
            return layer_name(made_of[operand][0])
    return None


_CONVOLUTIONS = {
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv3d.default,
    aten.conv1d.padding,
    aten.conv2d.padding,
    aten.conv3d.padding,
    aten.conv_transpose1d.default,
    aten.conv_transpose2d.input,
    aten.conv_transpose3d.input,
    aten.linear.default,
}
_PRODUCTS = {aten.matmul.default, aten.bmm.default, aten.mm.default, aten.addmm.default, aten.baddbmm.default}
_NORMS = {
    aten.batch_norm.default,
    aten.instance_norm.default,
    aten.group_norm.default,
    aten.layer_norm.default,
}
