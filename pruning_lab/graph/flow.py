"""Whose output reaches whom: layer to layer, past everything that is not a layer. Knows exported graphs, not channels.

Names only, so it stays true through every cut. Which of a source's channels a reader sees follows from their groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx
from torch.export import ExportedProgram

from pruning_lab.graph.interpreter import layer_name

aten = torch.ops.aten


@dataclass(frozen=True)
class Flow:
    """The output of layer `source` reaches the input of layer `reader`, through the normalisations `norms` in turn."""

    source: str
    reader: str
    norms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Application:
    """One operator that applies a layer's weight to an activation."""

    layer: str
    activation: fx.Node
    weight: fx.Node


Canonical = Mapping[str, str]
"""Name of a parameter -> the name that stands for it, where one parameter has several."""

Reach = dict[tuple[str, tuple[str, ...]], None]
"""(layer, normalisations since): an ordered set."""


def flows_of(program: ExportedProgram, canonical: Canonical | None = None) -> tuple[Flow, ...]:
    """All flows of an exported graph, in the order in which the readers run."""
    made_of = parameters_in(program, canonical)
    layers = applications(program, canonical)
    reach: dict[fx.Node, Reach] = {}
    found: dict[Flow, None] = {}
    for node in program.graph.nodes:
        arriving = _arriving(node, made_of, reach)
        if node in layers:
            name = layers[node].layer
            found.update({Flow(source, name, norms): None for source, norms in arriving})
            arriving = {(name, ()): None}
        if node not in made_of:
            reach[node] = arriving
    return tuple(found)


def parameters_in(program: ExportedProgram, canonical: Canonical | None = None) -> dict[fx.Node, tuple[str, ...]]:
    """Every node that depends on no input of the user's -> the parameters and buffers that it is made of."""
    names = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    given = set(program.graph_signature.user_inputs)
    made_of: dict[fx.Node, tuple[str, ...]] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name not in given:
            name = names.get(node.name)
            made_of[node] = () if name is None else ((canonical or {}).get(name, name),)
        elif node.op == "call_function" and all(item in made_of for item in node.all_input_nodes):
            made_of[node] = sum((made_of[item] for item in node.all_input_nodes), ())
    return made_of


def applications(program: ExportedProgram, canonical: Canonical | None = None) -> dict[fx.Node, Application]:
    """Every node that applies a layer's weight to an activation."""
    made_of = parameters_in(program, canonical)
    found = {}
    for node in program.graph.nodes:
        if node.target in _CONVOLUTIONS:
            orders = [node.args[:2]]
        elif node.target in _PRODUCTS:
            orders = [node.args[-2:], node.args[:-3:-1]]
        else:
            continue
        for activation, weight in orders:
            if made_of.get(weight) and activation not in made_of:
                found[node] = Application(layer_name(made_of[weight][0]), activation, weight)
    return found


def _arriving(node: fx.Node, made_of: dict[fx.Node, tuple[str, ...]], reach: dict[fx.Node, Reach]) -> Reach:
    joined: Reach = {}
    for item in node.all_input_nodes:
        joined.update(reach.get(item, {}))
    if node.target not in _NORMS:
        return joined
    owners = [made_of[item][0].rpartition(".")[0] for item in node.all_input_nodes if made_of.get(item)]
    return {(source, (*norms, owners[0])): None for source, norms in joined} if owners else joined


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
