"""Whose output reaches whom: layer to layer, past everything that is not a layer. Knows tapes, not channels.

Names only, so it stays true through every cut. Which of a source's channels a reader sees follows from their groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pruning_lab.common.modules import layer_name, naming
from pruning_lab.graph.structure.flows import Flows
from pruning_lab.graph.tracing.tape import Step, Tape

aten = torch.ops.aten


@dataclass(frozen=True)
class Application:
    """One operator that applies a layer's weight to an activation."""

    layer: str
    activation: Step
    weight: Step


_SHIFT = 32
"""A source and the normalizations since are one integer: the place of its layer, and below it that of the sequence."""


def flows_of(tape: Tape) -> Flows:
    """All flows of a recorded pass, in the order in which the readers run."""
    made_of = parameters_in(tape)
    layers = applications(tape, made_of)
    known = _Known()
    reach: dict[Step, np.ndarray] = {}
    found: list[np.ndarray] = []
    for step in tape.steps:
        if step in made_of:
            continue
        arriving = _joined([reach[source] for source in step.sources if source in reach])
        if step in layers:
            place = known.layer(layers[step].layer)
            found.append(np.stack([arriving, np.full(len(arriving), place)]))
            arriving = np.array([place << _SHIFT])
        elif step.target in _NORMS:
            owners = [made_of[source][0].rpartition(".")[0] for source in step.sources if made_of.get(source)]
            arriving = known.normalized(arriving, owners[0]) if owners else arriving
        reach[step] = arriving
    return known.packed(found)


class _Known:
    """Numbers for layers and for sequences of normalizations; the empty sequence is the first."""

    def __init__(self) -> None:
        self.layers: dict[str, int] = {}
        self.norms: dict[tuple[str, ...], int] = {(): 0}

    def layer(self, name: str) -> int:
        return self.layers.setdefault(name, len(self.layers))

    def normalized(self, arriving: np.ndarray, norm: str) -> np.ndarray:
        """The same sources, one normalization further."""
        sequences = list(self.norms)
        if len(arriving) == 1:
            code = int(arriving[0])
            further = (*sequences[code & (2**_SHIFT - 1)], norm)
            return np.array([(code >> _SHIFT << _SHIFT) + self.norms.setdefault(further, len(self.norms))])
        old, places = np.unique(arriving & (2**_SHIFT - 1), return_inverse=True)
        longer = [self.norms.setdefault((*sequences[one], norm), len(self.norms)) for one in old.tolist()]
        return (arriving >> _SHIFT << _SHIFT) + np.array(longer, dtype=np.int64)[places]

    def packed(self, found: list[np.ndarray]) -> Flows:
        both = np.concatenate(found, axis=1) if found else np.empty((2, 0), dtype=np.int64)
        _, first = np.unique(both, axis=1, return_index=True)
        codes, readers = both[:, np.sort(first)]
        places = np.stack([codes >> _SHIFT, readers, codes & (2**_SHIFT - 1)], axis=1)
        return Flows(tuple(self.layers), tuple(self.norms), places.astype(np.int32))


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Distinct codes, in the order in which they first occur."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return np.empty(0, dtype=np.int64)
    codes = np.concatenate(parts)
    _, first = np.unique(codes, return_index=True)
    return codes[np.sort(first)]


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
