"""Whose output reaches whom: layer to layer, past everything that is not a layer. Knows exported graphs, not channels.

Names only, so it stays true through every cut. Which of a source's channels a reader sees follows from their groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from pruning_lab.common.modules import layer_name, naming
from pruning_lab.graph.structure.flows import Flow

aten = torch.ops.aten


@dataclass(frozen=True)
class Application:
    """One operator that applies a layer's weight to an activation."""

    layer: str
    activation: fx.Node
    weight: fx.Node


Canonical = Mapping[str, str]
"""Name of a parameter -> the name that stands for it, where one parameter has several."""

Reach = dict[tuple[str, tuple[str, ...]], None]
"""(layer, normalizations since): an ordered set."""


def flows_of(program: ExportedProgram, canonical: Canonical | None = None) -> tuple[Flow, ...]:
    """All flows of an exported graph, in the order in which the readers run."""
    made_of = parameters_in(program, canonical)
    layers = applications(program, canonical)
    reach: dict[fx.Node, Reach] = {}
    found: dict[Flow, None] = {}
    for node, inputs in _steps(program):
        arriving = _arriving(node, inputs, made_of, reach)
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
    for node, inputs in _steps(program):
        if node.name in names and not inputs:
            name = names[node.name]
            made_of[node] = ((canonical or {}).get(name, name),)
        elif node.name not in given and node.op != "get_attr" and all(item in made_of for item in inputs):
            made_of[node] = sum((made_of[item] for item in inputs), ())
    return made_of


def applications(program: ExportedProgram, canonical: Canonical | None = None) -> dict[fx.Node, Application]:
    """Every node that applies a layer's weight to an activation."""
    made_of = parameters_in(program, canonical)
    found = {}
    for node, _ in _steps(program):
        operands: Any = node.args
        if node.target in _CONVOLUTIONS:
            orders = [operands[:2]]
        elif node.target in _PRODUCTS:
            orders = [operands[-2:], operands[:-3:-1]]
        else:
            continue
        for activation, weight in orders:
            if made_of.get(weight) and activation not in made_of:
                found[node] = Application(layer_name(naming(made_of[weight])), activation, weight)
    return found


Step = tuple[fx.Node, list[fx.Node]]
"""A node, and the nodes whose values it is made from."""


def _steps(program: ExportedProgram) -> Iterator[Step]:
    """All nodes in the order in which they run; graphs within the graph (a part without gradients) are laid open."""
    yield from _steps_of(program.graph_module)


def _steps_of(module: fx.GraphModule) -> Iterator[Step]:
    for node in module.graph.nodes:
        inner = [item for item in node.args if isinstance(item, fx.Node) and item.op == "get_attr"]
        part = getattr(module, str(inner[0].target), None) if inner else None
        if not isinstance(part, fx.GraphModule):
            yield node, node.all_input_nodes
            continue
        handed = node.args[node.args.index(inner[0]) + 1 :]
        places = [place for place in part.graph.nodes if place.op == "placeholder"]
        yield from ((place, [item]) for place, item in zip(places, handed, strict=True))
        yield from ((place, inputs) for place, inputs in _steps_of(part) if place.op not in ("placeholder", "output"))
        yield node, part.graph.output_node().all_input_nodes


def _arriving(
    node: fx.Node, inputs: list[fx.Node], made_of: dict[fx.Node, tuple[str, ...]], reach: dict[fx.Node, Reach]
) -> Reach:
    joined: Reach = {}
    for item in inputs:
        joined.update(reach.get(item, {}))
    if node.target not in _NORMS:
        return joined
    owners = [made_of[item][0].rpartition(".")[0] for item in inputs if made_of.get(item)]
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
