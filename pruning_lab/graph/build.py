"""From a model to its channel graph: record, interpret, and number the components as groups. Knows no operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruning_lab.common.modules import NamedTensors, layer_name, named_tensors
from pruning_lab.graph.structure.channels import STAYS, Channels, by_layer
from pruning_lab.graph.structure.id_rows import Rows
from pruning_lab.graph.structure.records import Consumer, CostTerm, HeldSize, Size, Structure, TensorInfo
from pruning_lab.graph.tracing.connections import Connections, answered, ask, interpret_by_hand
from pruning_lab.graph.tracing.flow import flows_of
from pruning_lab.graph.tracing.group_ids import GroupIds
from pruning_lab.graph.tracing.interpreter import GIVES_OUTPUT, Interpreter, Suspect
from pruning_lab.graph.tracing.labels import FIXED
from pruning_lab.graph.tracing.live_values import live_values
from pruning_lab.graph.tracing.recording import TraceError, record
from pruning_lab.graph.tracing.rules import MEETING, RULES
from pruning_lab.graph.tracing.tape import Step, Tape


@dataclass(frozen=True)
class Reading:
    """A model's evaluation pass, and what every value in it has of the model's groups.

    Attributes:
        values: step -> what the interpreter found for it.
        group_of_label: int64 [labels], the group id of every label, or STAYS.
        tape: None for a model that can't be recorded, and is known by its user's connections alone.
        suspects: where the model's own code may hold a number of channels, by the ids of their groups.
        sizes: (module, rows of group ids and fixed numbers), whose lengths an attribute of the module may hold.
        by_hand: layers whose consumers the user gave.
        asked: modules whose code saw the size of something that a cut may shorten.
        training: what ran only in training, recorded; None where there is no such pass.
    """

    tape: Tape | None
    values: dict[Step, Any]
    group_of_label: Tensor
    suspects: list[Suspect]
    sizes: list[tuple[str, tuple[Size, ...]]]
    by_hand: set[str]
    asked: set[str] = field(default_factory=set)
    training: Tape | None = None


ONLY_TRAINING, RETURNED_IN_TRAINING = "runs only in training", "its result is used only in training"


def read_graph(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    connections: Connections | None = None,
    split: int = 0,
    before: Reading | None = None,
) -> tuple[Channels, Reading]:
    """Read a model; where evaluation leaves parameters aside, what training does with them is read too.

    Args:
        split: which dimension of a view that splits channels keeps them, see `Structure.split`; 0 for what frees most.
        before: what was read of this model on these inputs with another split; its tapes are not recorded again.

    Raises:
        TraceError: the model does not run, and there are no connections to use instead.
        LabError: connections don't fit the model.
    """
    try:
        tape = before.tape if before is not None and before.tape is not None else record(model, inputs)
    except TraceError:
        if connections is None:
            raise
        interpreter = Interpreter(RULES, MEETING)
        interpret_by_hand(interpreter, model, inputs, connections)
        graph, ids = _number(interpreter, named_tensors(model), model, {})
        graph = replace(graph, rows=Rows(graph.structure.rows()))
        return graph, Reading(None, {}, ids.of_label, [], [], answered(interpreter.links))
    interpreter, values, split = _interpret(tape, connections, split)
    suspects, sizes = [*interpreter.suspects, *interpreter.contracted], list(interpreter.sizes)
    tensors = named_tensors(model)
    training = before.training if before is not None else None
    if before is None and not interpreter.used.issuperset(tensors[0]):
        training = _training_tape(model, inputs, interpreter.used)
    graph, ids = _number(interpreter, tensors, model, _read_training(interpreter, training))
    memory = live_values(tape, values, ids)
    structure = replace(graph.structure, split=split, memory=memory, flows=flows_of(tape))
    graph = replace(graph, structure=structure, rows=Rows(structure.rows()))
    reading = Reading(
        tape,
        values,
        ids.of_label,
        [Suspect(one.place, one.module, ids(one.channels)) for one in suspects],
        [(path, tuple(ids(part) if isinstance(part, Tensor) else part for part in parts)) for path, parts in sizes],
        answered(interpreter.links),
        interpreter.asked,
        training,
    )
    return graph, reading


def _interpret(tape: Tape, connections: Connections | None, split: int) -> tuple[Interpreter, dict[Step, Any], int]:
    """Run the tape on labels; where the user has something to say of the layers found, run it again with that."""
    interpreter = Interpreter(RULES, MEETING)
    values = interpreter.run(tape)
    if connections is None:
        return _with_choices(tape, interpreter, values, split)
    widths = {name: len(row) for name, row in interpreter.layers.items()}
    links = ask(connections, widths, {read.layer: len(read.channels) for read in interpreter.reads})
    interpreter = Interpreter(RULES, MEETING, links)
    return interpreter, interpreter.run(tape), 1


def _with_choices(
    tape: Tape, interpreter: Interpreter, values: dict[Step, Any], split: int
) -> tuple[Interpreter, dict[Step, Any], int]:
    """Let views that split channels keep them along another dimension, where that frees filters.

    Attention's heads leave whole where the width of a head must stay; a vector that becomes an image loses whole
    channels of it. Such a view is looked for only where something is frozen, and all of them choose alike.
    """
    splits = interpreter.splits
    if not splits:
        return interpreter, values, 1
    best, kept = _frozen_filters(interpreter), (interpreter, values, 1)
    for back in range(2, 1 + max(map(len, splits.values()), default=0)):
        if split not in (0, back) or not best:
            continue
        tried = Interpreter(
            RULES, MEETING, choices={step: dims[-back] for step, dims in splits.items() if back <= len(dims)}
        )
        found = tried.run(tape)
        if split == back or (frozen := _frozen_filters(tried)) < best:
            kept = (tried, found, back)
            best = 0 if split == back else frozen
    return kept


def _frozen_filters(interpreter: Interpreter) -> int:
    """Filters that can't be cut, those aside that give the model's output or can't leave alone."""
    component = interpreter.space.components()
    reasons = interpreter.space.frozen_components(component)
    frozen = [index for index, why in reasons.items() if why != GIVES_OUTPUT]
    rows = [component[row.numpy()] for row in interpreter.layers.values()]
    whole = sum(len(row) for row in rows if len(np.unique(row)) == 1)
    return whole + sum(int(np.isin(row, frozen).sum()) for row in rows)


def _training_tape(model: nn.Module, inputs: tuple[Tensor, ...], known: set[str]) -> Tape | None:
    """A training pass that reads parameters which evaluation does not; None if there is no such pass.

    Where it stops, it is tried with one sample more, if batch normalization asks for that, else with images four times
    as large, since auxiliary heads pool more; and then with both. The size of an image makes no difference to its
    channels, and neither do values.
    """
    doubled = tuple(torch.cat([item, item]) if item.dim() else item for item in inputs)
    waiting = [inputs]
    while waiting:
        tried = waiting.pop(0)
        try:
            tape = record(model, tried, training=True)
        except TraceError as error:  # whatever stops the model, it may run on another image
            if tried is inputs:
                waiting = [doubled if _WANTS_MORE in str(error) else _all_enlarged(inputs), _all_enlarged(doubled)]
            continue
        return tape if any(step.name not in known for step in tape.steps if step.name) else None
    return None


_WANTS_MORE = "more than 1 value per channel"
"""In what torch's batch normalization says of a single value."""


def _all_enlarged(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(_enlarged(item) for item in inputs)


def _enlarged(image: Tensor) -> Tensor:
    if image.dim() < 3 or not image.is_floating_point():
        return image
    return image.repeat(1, 1, *[4] * (image.dim() - 2))


def _read_training(interpreter: Interpreter, tape: Tape | None) -> dict[str, str]:
    """Add the ties and reads of layers whose result only training uses. Returns these layers, and why they stay."""
    evaluated = set(interpreter.used)
    if tape is None:
        return {}
    known = set(interpreter.layers)
    interpreter.count_costs = False
    interpreter.run(tape)
    added = set(interpreter.layers) - known
    for name in added:
        interpreter.space.freeze(interpreter.layers[name], ONLY_TRAINING)
    returned = {layer_name(name) for name in interpreter.used - evaluated} & known
    for name in returned:
        interpreter.space.freeze(interpreter.layers[name], RETURNED_IN_TRAINING)
    return dict.fromkeys(added, ONLY_TRAINING) | dict.fromkeys(returned, RETURNED_IN_TRAINING)


def _number(
    interpreter: Interpreter, tensors: NamedTensors, model: nn.Module, only_training: dict[str, str]
) -> tuple[Channels, GroupIds]:
    """Number the groups in the order in which the network first gives out their filters.

    Its rows are still to be laid together.
    """
    component = interpreter.space.components()
    group_of_component, count = _number_groups(interpreter, component)
    group_of_label = torch.from_numpy(group_of_component[component])
    group_of_label[FIXED] = STAYS

    ids = GroupIds(group_of_label)
    layers = {name: ids(row) for name, row in interpreter.layers.items()}
    reasons = {
        int(group_of_component[index]): why
        for index, why in interpreter.space.frozen_components(component).items()
        if group_of_component[index] != STAYS
    }
    for name, why in only_training.items():  # whatever else stops them, they are for training alone
        told = {index: why for index in layers[name].tolist() if reasons.get(index) != GIVES_OUTPUT}
        reasons.update({index: why for index, why in told.items() if index != STAYS})
    for name, row in layers.items():
        if row.numel() and bool((row == row[0]).all()):
            reasons.setdefault(int(row[0]), f"all filters of {name} are tied together")
    parameters, buffers = tensors
    mixed = {
        int(group_of_component[index]): why for index, why in interpreter.space.mixed_components(component).items()
    }
    never_run, dead_ends = _unused(interpreter, parameters)
    structure = Structure(
        layers=layers,
        consumers=[Consumer(read.layer, read.parameters, read.dim, ids(read.channels)) for read in interpreter.reads],
        tensors=_tensor_infos(interpreter, parameters, buffers, ids),
        costs=[CostTerm(cost.layer, cost.coefficient, tuple(map(ids, cost.factors))) for cost in interpreter.costs],
        group_counts={name: ids(row) for name, row in interpreter.counted_groups.items()},
        channel_counts={name: ids(row) for name, row in interpreter.counted_channels.items()},
        held=[
            HeldSize(path, "num_groups", (ids(row),))
            for path, row in interpreter.counted_norms.items()
            if isinstance(model.get_submodule(path), nn.GroupNorm)
        ],
    )
    graph = Channels(
        structure=structure,
        rows=Rows(()),
        original={name: torch.arange(len(row)) for name, row in layers.items()},
        original_widths={name: len(row) for name, row in layers.items()},
        frozen=by_layer(layers, reasons) | dict.fromkeys(never_run, "never run"),
        mixed=by_layer(layers, mixed),
        unused=never_run + [name for name in dead_ends if name not in only_training],
        prunable=~_mask_of(reasons, count),
        contracted=_mask_of((group for one in interpreter.contracted for group in ids(one.channels).tolist()), count),
        mixing=_mask_of(mixed, count),
        frozen_groups=reasons,
    )
    return graph, ids


def _unused(interpreter: Interpreter, parameters: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Layers that nothing runs, and layers that run but whose result nothing reads."""
    never, dead = [], []
    for name, parameter in parameters.items():
        if name in interpreter.used:
            continue
        layer = layer_name(name)
        if layer in interpreter.layers:
            dead.append(layer)
        elif parameter.dim() > 1:
            never.append(layer)
    return list(dict.fromkeys(never)), list(dict.fromkeys(dead))


def _number_groups(interpreter: Interpreter, component: np.ndarray) -> tuple[np.ndarray, int]:
    """Component -> group id, STAYS for components without a filter."""
    filters = [component[row.numpy()] for row in interpreter.layers.values()]
    numbers = np.full(component.max() + 1, STAYS, dtype=np.int64)
    if not filters:
        return numbers, 0
    found, first = np.unique(np.concatenate(filters), return_index=True)
    in_order = found[np.argsort(first)]
    in_order = in_order[in_order != component[FIXED]]
    numbers[in_order] = np.arange(len(in_order))
    return numbers, len(in_order)


def _tensor_infos(
    interpreter: Interpreter, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], ids: GroupIds
) -> dict[str, TensorInfo]:
    """All parameters and buffers of the model; those that the graph never used have no axes."""
    infos = {}
    for named in (parameters, buffers):
        for name, tensor in named.items():
            value = interpreter.tensors.get(name)
            axes = {} if value is None else ids.moving(value.axes)
            infos[name] = TensorInfo(tuple(tensor.shape), tensor.element_size(), named is parameters, axes)
    return infos


def _mask_of(groups: Iterable[int], count: int) -> Tensor:
    """bool [count], True for these groups, of which negative ones are none."""
    result = torch.zeros(count, dtype=torch.bool)
    result[[index for index in groups if index >= 0]] = True
    return result
