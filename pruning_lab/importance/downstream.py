"""A filter matters as far as it feeds filters that matter. Knows weights and flows, and one other method.

Source: Yu et al., "NISP: Pruning networks using neuron importance score propagation" (2018), extended from chains to
graphs. From the last layers back, with s_r the scores of a reader's filters and W its kernels,

    s_l(k) = sum over readers r of l: scale_lr(k) x sum over r's channels i that carry filter k: read_r(i)
    read_r(i) = sum over filters j of r: s_r(j) x sum over the kernel of |W_r(j, i)|

divided by the layer's mean. `scale` is |gamma| / sqrt(var + eps) of each batch norm between the two. So a concatenation
splits what it hands back, an add hands it to both sides, and a depthwise layer passes on channel by channel.

With `active` the weights are multiplied by how much there is to weigh, the standard deviation over images and places of
what the reader reads in channel i, instead of the scale of the norms before it:

    read_r(i) = std of x_r(i) x sum over filters j of r: s_r(j) x sum over the kernel of |W_r(j, i)|
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import submodule
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.structure.flows import Flow
from pruning_lab.importance.activations.ipad import Ipad
from pruning_lab.importance.activations.means import activity_of_reads
from pruning_lab.importance.contract import (
    Batches,
    FilterImportance,
    FilterScores,
    Importance,
    in_a_row,
    places_of,
    readers,
    replayable,
)
from pruning_lab.importance.scopes import ranks_in_layers
from pruning_lab.importance.weights.kernels import filter_weights

_CHOICES = {
    "norm": (1, 2),
    "normalize": ("none", "sum", "mean", "max"),
    "combine": ("sum", "max"),
    "last_layers": ("own", "ones"),
}

_STAYS_IN_CACHE = 2**18
"""Weights whose sizes are taken at once, a megabyte: more would leave the processor's own cache and come back."""


@dataclass(frozen=True)
class Downstream(FilterImportance):
    """mix x own score + (1 - mix) x what is downstream, each divided by its mean over all filters.

    Args:
        own: the method for the filter itself, and for the last layers, where nothing lies downstream.
        mix: share of the own score, in [0, 1].
        norm: 1 for absolute weights, 2 for squared ones (and squared scales).
        normalize: what a layer's propagated scores are divided by: none, or their sum, mean or max. `none` lets depth
            and width decide how layers compare; by default all layers weigh alike, however many readers they have.
        combine: how several readers of a filter add up: sum or max.
        hops: how many layers to look ahead; None for all.
        last_layers: the scores that propagation starts from: own, or ones. A layer of the output whose own scores are
            all zero starts from ones in any case: methods that look at readers (Taylor, APoZ, ...) see none there.
        active: weigh by the standard deviation of what is read. Needs images; with `mix` 0 and `last_layers` ones
            they are all that it needs, and the own method is not asked.
        ranked: give each filter its place in its layer's order, in (0, 1], in place of its score, so that all layers
            give alike shares of their filters.
    """

    own: Importance = field(default_factory=Ipad)
    mix: float = 0.5
    norm: int = 1
    normalize: str = "mean"
    combine: str = "sum"
    hops: int | None = None
    last_layers: str = "own"
    active: bool = False
    ranked: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.mix <= 1:
            raise LabError(f"importance.mix={self.mix} must lie in [0, 1]")
        if self.hops is not None and self.hops < 1:
            raise LabError(f"importance.hops={self.hops} must be at least 1, or null for all")
        for key, known in _CHOICES.items():
            if getattr(self, key) not in known:
                listed = ", ".join(map(str, known))
                raise LabError(f"importance.{key}={getattr(self, key)} is not known; use one of {listed}")

    @torch.no_grad()
    def by_filter(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> FilterScores:
        asked = self.mix > 0 or self.last_layers == "own"
        batches = replayable(batches)
        own = self._own_scores(model, graph, batches) if asked else {k: torch.zeros(n) for k, n in graph.widths.items()}
        ahead = self.propagate(model, graph, own, batches if self.active else None)
        mine, further = (torch.cat([scores[layer] for layer in own]) for scores in (own, ahead))
        mixed = self.mix / _mean(mine) * mine + (1 - self.mix) / _mean(further) * further
        scores = dict(zip(own, mixed.split([len(each) for each in own.values()]), strict=True))
        return ranks_in_layers(graph, scores) if self.ranked else scores

    def propagate(
        self, model: nn.Module, graph: ChannelGraph, own: FilterScores, batches: Batches | None = None
    ) -> FilterScores:
        """What is downstream of every filter, float [filters] per layer.

        Args:
            own: layer -> float [filters]. Layers without readers start from it; with `hops`, so does every layer.
            batches: images, where activity counts.
        """
        activity = None if batches is None else activity_of_reads(model, graph, batches)
        network = _Network(model, graph, self.norm, activity)
        first = {layer: self._normalized(self._start(network, layer, score)) for layer, score in own.items()}
        if self.hops is None:
            return self._sweep(network, first)
        ahead = first
        for _ in range(self.hops):
            ahead = self._sweep(network, first, ahead)
        return ahead

    def _start(self, network: _Network, layer: str, own: Tensor) -> Tensor:
        graph = network.graph
        unseen = not own.any() and layer not in network.flows and not graph.prunable[graph.layers[layer]].any()
        return torch.ones_like(own) if unseen or self.last_layers == "ones" else own

    def _own_scores(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> FilterScores:
        """Layer -> float [filters]; a layer that the method can't see gets zeros."""
        if isinstance(self.own, FilterImportance):
            seen = self.own.by_filter(model, graph, batches)
            row = in_a_row(list(seen.values())).split([len(score) for score in seen.values()])
            known = dict(zip(seen, row, strict=True))
            return {layer: known.get(layer, torch.zeros(len(ids))) for layer, ids in graph.layers.items()}
        scores = torch.cat([self.own(model, graph, batches).float().cpu(), torch.zeros(1)])
        return {layer: scores[ids] for layer, ids in graph.layers.items()}

    def _sweep(self, network: _Network, first: FilterScores, before: FilterScores | None = None) -> FilterScores:
        """One way back through the layers; readers' scores are those of this sweep, or of the one `before`."""
        scores: FilterScores = {}
        reads: dict[str, Tensor] = {}
        for layer, ids in reversed(network.graph.layers.items()):
            parts = []
            for reader, scales in network.readers_of(layer):
                if reader not in reads:
                    # A reader that runs earlier (a layer that runs twice) is not scored yet.
                    known = first if before is None and reader not in scores else before or scores
                    reads[reader] = network.reads(reader, known[reader])
                parts.append(math.prod(scales, start=reads[reader]))
            if not parts:
                scores[layer] = first[layer]
                continue
            stacked = torch.stack(parts)
            by_group = stacked.amax(0) if self.combine == "max" else stacked.sum(0)
            scores[layer] = self._normalized(by_group[ids] / network.multiplicity(layer))
        return scores

    def _normalized(self, scores: Tensor) -> Tensor:
        if self.normalize == "none":
            return scores
        total = scores.amax() if self.normalize == "max" else scores.sum()
        by = total / len(scores) if self.normalize == "mean" else total
        return scores / by if by else scores


class _Network:
    """The weights of a model, as propagation reads them. Vectors over groups have one entry more, for no group."""

    def __init__(
        self, model: nn.Module, graph: ChannelGraph, norm: int, activity: Mapping[str, Tensor] | None = None
    ) -> None:
        self.model = model
        self.graph = graph
        self.norm = norm
        self.activity = activity
        self.kernels = filter_weights(model, graph)
        self.inputs: Mapping[str, Tensor] = readers(graph)
        self.flows: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for flow in graph.flows or _by_shared_groups(graph):
            if flow.reader in graph.layers:
                self.flows.setdefault(flow.source, []).append((flow.reader, flow.norms))
        norms = {norm for ways in self.flows.values() for _, on_the_way in ways for norm in on_the_way}
        self.scales = self._scales(sorted(norms))

    def readers_of(self, layer: str) -> list[tuple[str, list[Tensor]]]:
        """(reader, scales [n_groups + 1] of the normalizations on the way); none where activity stands for them."""
        if self.activity is not None:
            return [(reader, []) for reader, _ in self.flows.get(layer, ())]
        return [(reader, [self.scales[norm] for norm in norms]) for reader, norms in self.flows.get(layer, ())]

    def reads(self, layer: str, scores: Tensor) -> Tensor:
        """How much a layer whose filters have these scores [filters] makes of every group, [n_groups + 1]."""
        kernel = self.kernels[layer].float()
        groups = getattr(submodule(self.model, layer), "groups", 1)
        blocks = kernel.reshape(groups, len(kernel) // groups, -1)
        by_filter = scores.to(kernel.device).reshape(groups, 1, -1)
        by_entry = torch.zeros(groups, 1, blocks.shape[2], device=kernel.device)
        at_once = len(kernel) if kernel.is_cuda else max(1, _STAYS_IN_CACHE // (groups * blocks.shape[2]))
        for part, share in zip(blocks.split(at_once, 1), by_filter.split(at_once, 2), strict=True):
            by_entry.baddbmm_(share, part.abs() if self.norm == 1 else part.square())
        by_channel = by_entry.reshape(groups * kernel.shape[1], -1).sum(1).cpu()
        if self.activity is not None and layer in self.activity:
            by_channel = by_channel * self.activity[layer] ** self.norm
        result = torch.zeros(len(self.graph) + 1)
        places = places_of(self._input_ids(layer, groups, kernel.shape[1]), len(self.graph))
        return result.index_add_(0, places, by_channel)

    def multiplicity(self, layer: str) -> Tensor:
        """How many of the layer's filters share each filter's group, and with it what the group is read for."""
        ids = self.graph.layers[layer]
        return torch.bincount(places_of(ids, len(self.graph)), minlength=len(self.graph) + 1)[ids]

    def _input_ids(self, layer: str, groups: int, per_group: int) -> Tensor:
        """int64 [in_channels]; a depthwise layer's inputs are in the groups of its filters."""
        if layer in self.inputs:
            return self.inputs[layer]
        return self.graph.layers[layer].reshape(groups, -1)[:, 0].repeat_interleave(per_group)

    def _scales(self, names: list[str]) -> dict[str, Tensor]:
        """Normalization -> [n_groups + 1], by what it multiplies each group's channels; 1 for groups that it has not.

        All in one go, as each is little work by itself.
        """
        scales = torch.ones(len(names), len(self.graph) + 1)
        places, factors = [], []
        for number, name in enumerate(names):
            tensors = (self.graph.tensors.get(f"{name}.{leaf}") for leaf in ("weight", "running_var"))
            ids = next((tensor.axes.get(0) for tensor in tensors if tensor is not None), None)
            if ids is not None:
                places.append(places_of(ids, len(self.graph)) + number * scales.shape[1])
                factors.append(_gamma_and_variance(self.model.get_submodule(name), len(ids)))
        if places:
            gamma, variance = (in_a_row(parts) for parts in zip(*factors, strict=True))
            factor = (gamma.abs() / variance.sqrt()) ** self.norm
            scales.view(-1).scatter_reduce_(0, torch.cat(places), factor, "mean", include_self=False)
        return dict(zip(names, scales, strict=True))


def _by_shared_groups(graph: ChannelGraph) -> Iterator[Flow]:
    """Flows of a graph that came with none, as one that was connected by hand: to later layers that read the groups."""
    order = {layer: place for place, layer in enumerate(graph.layers)}
    for layer, ids in graph.layers.items():
        for reader, read in readers(graph).items():
            if order.get(reader, -1) > order[layer] and bool(torch.isin(read, ids[ids >= 0]).any()):
                yield Flow(layer, reader)


def _gamma_and_variance(module: nn.Module, channels: int) -> tuple[Tensor, Tensor]:
    """Float [channels] each, where the module is; the variance is the running one with eps. 1 where it has none."""
    gamma, variance = getattr(module, "weight", None), getattr(module, "running_var", None)
    known = next((tensor for tensor in (gamma, variance) if tensor is not None), torch.empty(0))
    ones = torch.ones(channels, device=known.device)
    return (
        ones if gamma is None else gamma.detach().float(),
        ones if variance is None else variance.float() + getattr(module, "eps", 0.0),
    )


def _mean(scores: Tensor) -> float:
    mean = float(scores.mean())
    return mean if mean else 1.0
