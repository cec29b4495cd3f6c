"""Whose output reaches whom: layer to layer, past everything that is not a layer. Knows tapes, not channels.

Names only, so it stays true through every cut. Which of a source's channels a reader sees follows from their groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pruning_lab.common.modules import layer_name, naming
from pruning_lab.graph.structure.flows import Flow
from pruning_lab.graph.tracing.tape import Step, Tape

aten = torch.ops.aten


@dataclass(frozen=True)
class Application:
    """One operator that applies a layer's weight to an activation."""

    layer: str
    activation: Step
    weight: Step


Reach = dict[tuple[str, tuple[str, ...]], None]
"""(layer, normalizations since): an ordered set."""


def flows_of(tape: Tape) -> tuple[Flow, ...]:
    """All flows of a recorded pass, in the order in which the readers run."""
    made_of = parameters_in(tape)
    layers = applications(tape, made_of)
    reach: dict[Step, Reach] = {}
    found: dict[Flow, None] = {}
    for step in tape.steps:
        arriving = _arriving(step, made_of, reach)
        if step in layers:
            name = layers[step].layer
            found.update({Flow(source, name, norms): None for source, norms in arriving})
            arriving = {(name, ()): None}
        if step not in made_of:
            reach[step] = arriving
    return tuple(found)


def parameters_in(tape: Tape) -> dict[Step, tuple[str, ...]]:
    """Every step that depends on no input of the user's -> the parameters and buffers that it is made of."""
    made_of: dict[Step, tuple[str, ...]] = {}
    given = set(tape.inputs)
    for step in tape.steps:
        if step.name:
            made_of[step] = (step.name,)
        elif step not in given and all(source in made_of for source in step.sources):
            made_of[step] = sum((made_of[source] for source in step.sources), ())
    return made_of


def applications(tape: Tape, made_of: dict[Step, tuple[str, ...]]) -> dict[Step, Application]:
    """Every step that applies a layer's weight to an activation."""
    found = {}
    for step in tape.steps:
        operands: Any = step.args
        if step.target in _CONVOLUTIONS:
            orders = [operands[:2]]
        elif step.target in _PRODUCTS:
            orders = [operands[-2:], operands[:-3:-1]]
        else:
            continue
        for activation, weight in orders:
            if made_of.get(weight) and activation not in made_of:
                found[step] = Application(layer_name(naming(made_of[weight])), activation, weight)
    return found


def _arriving(step: Step, made_of: dict[Step, tuple[str, ...]], reach: dict[Step, Reach]) -> Reach:
    joined: Reach = {}
    for source in step.sources:
        joined.update(reach.get(source, {}))
    if step.target not in _NORMS:
        return joined
    owners = [made_of[source][0].rpartition(".")[0] for source in step.sources if made_of.get(source)]
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
