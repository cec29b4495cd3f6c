"""What there is to know of a model before anything is trained: layers, who reads them, and what a budget would take.

Knows the channel graph, resources and floors; must not know data, config or how facts are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.tracing.connections import Connections
from pruning_lab.importance import Importance
from pruning_lab.resources.counting import Resources, measure
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.selection.floors import Floors, LayerFloors
from pruning_lab.selection.selection import Selection
from pruning_lab.selection.stopping import StopRule
from pruning_lab.surgery.unused import unused_weights
from pruning_lab.tasks.inspect.budget_trial import BudgetFacts, try_budget
from pruning_lab.tasks.inspect.milliseconds import LatencyFacts, latency_facts

Runs = tuple[tuple[int, int], ...]
"""Indices as (first, last) of each unbroken run."""


@dataclass(frozen=True)
class LayerFacts:
    """One layer.

    Attributes:
        type: of its module.
        filters: that it has; `prunable_filters` of them may leave.
        groups: how many groups its filters belong to; fewer than filters where some are tied to each other.
        convolution_groups: of a grouped convolution, else 1.
        macs_share, weights_share: fractions of the whole model's.
        floor: `filters`, `flops` or `weights` -> the count that must stay.
        tied: other layers with filters of the same groups.
        frozen, mixed: why filters can't be cut, and against which normalization a cut is exact; empty for neither.
        filters_at_budget: left when the budget is met, or when floors stop the run.
    """

    name: str
    type: str
    filters: int
    prunable_filters: int
    groups: int
    convolution_groups: int
    macs: int
    flops: int
    macs_share: float
    weights: int
    weights_share: float
    floor: Mapping[str, float]
    tied: tuple[str, ...]
    frozen: str
    mixed: str
    filters_at_budget: int


@dataclass(frozen=True)
class ConsumerFacts:
    """A layer's `filters` are read by `consumer` as its input `channels`.

    Where several layers are tied and the consumer reads more than one of them, the channels are those of all of them.
    """

    layer: str
    consumer: str
    filters: Runs
    channels: Runs


@dataclass(frozen=True)
class Inspection:
    """A whole model; counts are for one input of `input_shape`.

    Attributes:
        bytes: of all parameters and buffers.
        memory: peak of activation memory, bytes; None where the graph does not tell.
        latency: on the target; None where nothing asked for it.
    """

    model: str
    input_shape: tuple[int, ...]
    macs: int
    flops: int
    weights: int
    bytes: int
    memory: int | None
    filters: int
    groups: int
    prunable_groups: int
    layers: tuple[LayerFacts, ...]
    reads: tuple[ConsumerFacts, ...]
    unused: tuple[str, ...]
    unused_weights: int
    budget: BudgetFacts
    dropped: tuple[str, ...] = field(default=())
    latency: LatencyFacts | None = None


def inspect_model(
    model: nn.Module,
    image: Tensor,
    floors: Floors,
    selection: Selection,
    stop: StopRule,
    importance: Importance,
    connections: Connections | None = None,
    dropped: tuple[str, ...] = (),
    timed: Callable[[ChannelGraph], LatencyModel] | None = None,
) -> Inspection:
    """Look a model over. It is neither trained nor changed.

    Args:
        image: float32 [1, C, H, W] on the model's device; its values don't matter.
        importance: ranks the groups for the budget; uniform shares of all layers stand in if it needs images.
        connections: as for `ChannelGraph.trace`.
        dropped: unused parts that were taken out before.
        timed: makes a model of latency; None: nothing is told of milliseconds.

    Raises:
        LabError: the model can't be traced, has no layer, or a floor names no layer.
    """
    graph = ChannelGraph.trace(model, image, connections=connections)
    if not graph.layers:
        raise LabError(f"{type(model).__name__} has no layer that reads its input; choose another model")
    original = measure(graph)
    least = floors.resolve(model, graph, original)
    latency = None if timed is None else timed(graph)
    budget = try_budget(model, graph, image, least, selection, stop, importance, latency)
    return Inspection(
        model=_name_of(model),
        input_shape=tuple(image.shape),
        macs=original.macs,
        flops=original.flops,
        weights=original.weights,
        bytes=original.bytes,
        memory=original.memory,
        filters=sum(graph.widths.values()),
        groups=len(graph),
        prunable_groups=int(graph.prunable.sum()),
        layers=tuple(_layers(model, graph, original, least, budget.widths)),
        reads=tuple(reads_of(graph)),
        unused=tuple(graph.unused),
        unused_weights=unused_weights(graph),
        budget=budget,
        dropped=dropped,
        latency=None if latency is None else latency_facts(graph, latency),
    )


def reads_of(graph: ChannelGraph) -> Iterator[ConsumerFacts]:
    """Who reads whose filters, and as which of its channels, in the order in which the layers run."""
    inputs: dict[str, list[Tensor]] = {name: [_inputs_of_groups(graph, name)] for name in graph.group_counts}
    for consumer in graph.consumers:
        inputs.setdefault(consumer.layer, []).append(consumer.channels)
    for layer, reader in _pairs(graph):
        row = graph.layers[layer]
        places = sorted({int(i) for ids in inputs.get(reader, ()) for i in torch.isin(ids, row).nonzero()})
        if places:
            filters = torch.isin(row, torch.cat(inputs[reader])).nonzero().flatten().tolist()
            yield ConsumerFacts(layer, reader, runs_of(filters), runs_of(places))


def runs_of(indices: list[int]) -> Runs:
    """Ascending indices as unbroken runs: [0, 1, 2, 5] -> ((0, 2), (5, 5))."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return tuple(runs)


def _name_of(model: nn.Module) -> str:
    """Its class, and for the lab's networks that stand for several which of them it is: `SMP Unet resnet34`."""
    choices = (getattr(model, key, None) for key in ("architecture", "encoder", "backbone", "name"))
    return " ".join([type(model).__name__, *(choice for choice in choices if isinstance(choice, str))])


def _inputs_of_groups(graph: ChannelGraph, layer: str) -> Tensor:
    """Group ids of the channels that a convolution reads whose groups leave as a whole (a depthwise one)."""
    ids = graph.group_counts[layer]
    info = graph.tensors.get(f"{layer}.weight")
    if info is None:
        return ids
    transposed = info.shape[0] != len(graph.layers[layer])
    return ids.repeat_interleave(info.shape[0] // len(ids) if transposed else info.shape[1])


def _pairs(graph: ChannelGraph) -> list[tuple[str, str]]:
    """(layer, reader): as traced, or where connections were given by hand, the readers of groups of the layer."""
    order = {name: place for place, name in enumerate(graph.layers)}
    if graph.flows:
        pairs = {(flow.source, flow.reader) for flow in graph.flows if flow.source in order and flow.reader in order}
    else:
        pairs = {
            (name, read.layer)
            for name, row in graph.layers.items()
            for read in graph.consumers
            if bool(torch.isin(read.channels, row).any())
        }
    return sorted(pairs, key=lambda pair: (order[pair[0]], order.get(pair[1], len(order))))


def _layers(
    model: nn.Module, graph: ChannelGraph, original: Resources, floors: LayerFloors, widths: Mapping[str, int]
) -> Iterator[LayerFacts]:
    modules = dict(model.named_modules())
    owners: dict[int, set[str]] = {}
    for name, row in graph.layers.items():
        for group in row.unique().tolist():
            owners.setdefault(group, set()).add(name)
    place = {name: index for index, name in enumerate(graph.layers)}
    for name, row in graph.layers.items():
        cost, module = original.layers[name], modules.get(name)
        groups = [group for group in row.unique().tolist() if group >= 0]
        tied = set().union(*(owners[group] for group in groups)) - {name}
        yield LayerFacts(
            name=name,
            type="Parameter" if module is None else type(module).__name__,
            filters=cost.filters,
            prunable_filters=int(graph.prunable[row[row >= 0]].sum()),
            groups=len(groups),
            convolution_groups=getattr(module, "groups", 1),
            macs=cost.macs,
            flops=cost.flops,
            macs_share=cost.macs / max(original.macs, 1),
            weights=cost.weights,
            weights_share=cost.weights / max(original.weights, 1),
            floor=_floor_of(floors, name),
            tied=tuple(sorted(tied, key=place.__getitem__)),
            frozen=graph.frozen.get(name, ""),
            mixed=graph.mixed.get(name, ""),
            filters_at_budget=widths[name],
        )


def _floor_of(floors: LayerFloors, layer: str) -> dict[str, float]:
    return {kind: count for (kind, name), count in floors.least.items() if name == layer}
