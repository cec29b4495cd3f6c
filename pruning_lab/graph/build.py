"""From what the interpreter collected to a channel graph: components become numbered groups."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pruning_lab.graph.channel_graph import STAYS, ChannelGraph, Consumer, CostTerm, TensorInfo
from pruning_lab.graph.interpreter import Interpreter
from pruning_lab.graph.labels import FIXED


def build_graph(interpreter: Interpreter, model: nn.Module) -> ChannelGraph:
    """Number the groups in the order in which the network first gives out their filters."""
    component = interpreter.space.components()
    group_of_component, count = _number_groups(interpreter, component)
    group_of_label = torch.from_numpy(group_of_component[component])
    group_of_label[FIXED] = STAYS

    layers = {name: group_of_label[row] for name, row in interpreter.layers.items()}
    reasons = {
        int(group_of_component[index]): why
        for index, why in interpreter.space.frozen_components(component).items()
        if group_of_component[index] != STAYS
    }
    for name, row in layers.items():
        if len(row.unique()) == 1:
            reasons.setdefault(int(row[0]), f"all filters of {name} are tied together")
    mixed = {
        int(group_of_component[index]): why for index, why in interpreter.space.mixed_components(component).items()
    }
    return ChannelGraph(
        layers=layers,
        original={name: torch.arange(len(row)) for name, row in layers.items()},
        original_widths={name: len(row) for name, row in layers.items()},
        frozen=_by_layer(layers, reasons),
        mixed=_by_layer(layers, mixed),
        prunable=torch.tensor([index not in reasons for index in range(count)], dtype=torch.bool),
        consumers=[
            Consumer(read.layer, read.parameters, read.dim, group_of_label[read.channels]) for read in interpreter.reads
        ],
        tensors=_tensor_infos(interpreter, model, group_of_label),
        costs=[
            CostTerm(cost.layer, cost.coefficient, tuple(group_of_label[row] for row in cost.factors))
            for cost in interpreter.costs
        ],
        group_counts={name: group_of_label[row] for name, row in interpreter.counted_groups.items()},
        contracted=_contracted(interpreter, group_of_label, count),
        frozen_groups=reasons,
    )


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


def _by_layer(layers: dict[str, Tensor], reasons: dict[int, str]) -> dict[str, str]:
    """Layer -> the reason of its groups; where it holds for some filters only, the text says for how many."""
    result = {}
    for name, row in layers.items():
        told = [reasons[index] for index in row.tolist() if index in reasons]
        if told:
            part = "" if len(told) == len(row) else f"{len(told)} of {len(row)} filters: "
            result[name] = part + told[0]
    return result


def _tensor_infos(interpreter: Interpreter, model: nn.Module, group_of_label: Tensor) -> dict[str, TensorInfo]:
    """All parameters and buffers of the model; those that the graph never used have no axes."""
    infos = {}
    trainable = {name for name, _ in model.named_parameters()}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        value = interpreter.tensors.get(name)
        axes = {} if value is None else {d: group_of_label[row] for d, row in value.axes.items()}
        axes = {d: row for d, row in axes.items() if bool((row != STAYS).any())}
        infos[name] = TensorInfo(tuple(tensor.shape), tensor.element_size(), name in trainable, axes)
    return infos


def _contracted(interpreter: Interpreter, group_of_label: Tensor, count: int) -> Tensor:
    result = torch.zeros(count, dtype=torch.bool)
    for labels in interpreter.contracted:
        ids = group_of_label[labels]
        result[ids[ids != STAYS]] = True
    return result
