"""What each layer takes on the target, which layers are worth cutting, and which widths lie just above a step.

Knows a model of latency; must not know how the facts are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pruning_lab.graph import ChannelGraph
from pruning_lab.resources.latency.model import GraphLatency, LatencyModel

HARDLY = 0.01
"""A layer whose filters, cut in half, save less than this share of the network's time is not worth cutting."""


@dataclass(frozen=True)
class LayerTime:
    """One layer on the target.

    Attributes:
        ms: that its own operators take; `share` of the whole network's.
        half_saves: share of the whole network's time that is saved without half of its filters, and without what
            reads them. Groups that it shares with other layers leave these as well.
        above_step: filters that lie above the multiple at which time jumps: without so many it is faster.
    """

    name: str
    ms: float
    share: float
    half_saves: float
    above_step: int

    @property
    def worth_cutting(self) -> bool:
        return self.half_saves >= HARDLY


@dataclass(frozen=True)
class LatencyFacts:
    """A whole network on its target.

    Attributes:
        target: in words.
        ms: of one pass, predicted; `error`: median relative error on the networks that it was calibrated with.
        step: the multiple of channels at which time jumps.
    """

    target: str
    ms: float
    error: float
    step: int
    layers: tuple[LayerTime, ...]


def latency_facts(graph: ChannelGraph, model: LatencyModel) -> LatencyFacts:
    """What the model of latency says of a network that is not cut."""
    own: dict[str, float] = {}
    latency = model.of(graph)
    for one in model.layers(graph):
        own[one.layer] = own.get(one.layer, 0.0) + one.seconds
    layers = tuple(
        LayerTime(
            name=name,
            ms=1000 * own.get(name, 0.0),
            share=own.get(name, 0.0) / model.whole,
            half_saves=_half_saves(graph, name, latency),
            above_step=len(row) % model.step if len(row) > model.step else 0,
        )
        for name, row in graph.layers.items()
    )
    return LatencyFacts(model.target.told, 1000 * model.whole, model.error, model.step, layers)


def _half_saves(graph: ChannelGraph, layer: str, latency: GraphLatency) -> float:
    groups = graph.layers[layer].unique()
    groups = groups[groups >= 0]
    groups = groups[graph.prunable[groups]]
    removed = torch.zeros(len(graph), dtype=torch.bool)
    removed[groups[: len(groups) // 2]] = True
    return 1 - latency.seconds(removed) / latency.whole
