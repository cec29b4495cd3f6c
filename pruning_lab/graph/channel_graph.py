"""The channel graph: groups of filters that leave together, their consumers, and what every tensor has of them.

Knows torch only. It is built once by tracing; a cut then only filters its arrays (see `without`), which costs
microseconds, however large the network is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from pruning_lab.graph.export import Inputs, as_inputs, export
from pruning_lab.graph.flow import Flow, flows_of
from pruning_lab.graph.interpreter import Interpreter
from pruning_lab.graph.rules import RULES

STAYS = -1
"""The group id of a channel that belongs to no group: the model's input, padding, positions of a parameter."""


@dataclass(frozen=True)
class Group:
    """The smallest set of filters that can only be removed together, in current indices."""

    filters: list[tuple[str, int]]
    consumers: list[tuple[str, int]]


@dataclass(frozen=True)
class TensorInfo:
    """A parameter or buffer: its sizes, bytes per element, and the group ids along its dimensions."""

    shape: tuple[int, ...]
    itemsize: int
    trainable: bool
    axes: Mapping[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Consumer:
    """A layer's input: `channels` int64 [in_channels] holds the group id of every channel it reads."""

    layer: str
    tensors: tuple[str, ...]
    dim: int
    channels: Tensor


@dataclass(frozen=True)
class CostTerm:
    """Multiply-accumulates of one operator: coefficient x the lengths of `factors` (group ids each)."""

    layer: str
    coefficient: int
    factors: tuple[Tensor, ...]


@dataclass
class ChannelGraph:
    """Groups, layers and consumers of a model, as it is now and as it was when it was traced.

    Attributes:
        layers: layer name -> int64 [out_channels], the group id of each filter.
        original: layer name -> int64 [out_channels], the index that each filter had when the model was traced.
        original_widths: layer name -> filters that it had then.
        frozen: layer name -> why its filters can't be cut (or some of them, then the text says how many).
        mixed: layer name -> the normalisation over channels against which a cut of its filters is exact.
        prunable: bool [n_groups], False where a group feeds the model's output, or is frozen.
        consumers: every read of channels by a layer.
        tensors: parameter and buffer name -> its sizes and the groups along its dimensions.
        costs: multiply-accumulates, operator by operator.
        group_counts: layer name -> group ids of which as many are left as the convolution has groups.
        contracted: bool [n_groups], True where two activations are multiplied and summed over the group.
        flows: which layer's output reaches which layer, and through which normalisations.
    """

    layers: dict[str, Tensor]
    original: dict[str, Tensor]
    original_widths: dict[str, int]
    frozen: dict[str, str]
    mixed: dict[str, str]
    prunable: Tensor
    consumers: list[Consumer]
    tensors: dict[str, TensorInfo]
    costs: list[CostTerm]
    group_counts: dict[str, Tensor]
    contracted: Tensor
    frozen_groups: dict[int, str]
    flows: tuple[Flow, ...] = ()

    @staticmethod
    def trace(model: nn.Module, example_input: Inputs) -> ChannelGraph:
        """Read the channel graph of a model. The model is not changed.

        Args:
            model: any module that torch.export takes.
            example_input: tensor [N, C, ...] or tuple of tensors, on the model's device. Resource counts are for
                this input, so give it one image for costs per image.

        Raises:
            TraceError: the model can't be exported; the message says why.
        """
        from pruning_lab.graph.build import build_graph

        inputs = as_inputs(example_input)
        interpreter = Interpreter(RULES)
        program = export(model, inputs)
        interpreter.run(program)
        return replace(build_graph(interpreter, model), flows=flows_of(program))

    def __len__(self) -> int:
        return len(self.prunable)

    def group(self, index: int) -> Group:
        """Filters and consumers of a group, in current indices."""
        if not 0 <= index < len(self):
            raise IndexError(f"group {index} of {len(self)}")
        filters = _places(self.layers, index)
        reads = [(c.layer, int(i)) for c in self.consumers for i in (c.channels == index).nonzero()]
        return Group(filters, list(dict.fromkeys(reads)))

    @property
    def widths(self) -> dict[str, int]:
        """Layer name -> filters it has now."""
        return {name: len(ids) for name, ids in self.layers.items()}

    def as_mask(self, groups: Tensor | list[int]) -> Tensor:
        """Group ids or a bool mask, as a bool mask [n_groups].

        Raises:
            ValueError: an id is out of range, or the mask has another length.
        """
        chosen = torch.as_tensor(groups).cpu()
        if chosen.dtype == torch.bool:
            if chosen.shape != (len(self),):
                raise ValueError(f"the mask has {tuple(chosen.shape)} entries, the graph has {len(self)} groups")
            return chosen.clone()
        mask = torch.zeros(len(self), dtype=torch.bool)
        if chosen.numel():
            if int(chosen.min()) < 0 or int(chosen.max()) >= len(self):
                raise ValueError(f"group ids must lie in 0..{len(self) - 1}")
            mask[chosen.long()] = True
        return mask

    def without(self, removed: Tensor) -> ChannelGraph:
        """The graph after the groups of a bool mask [n_groups] have left; ids close ranks in their old order."""
        stays = torch.cat([~removed, torch.ones(1, dtype=torch.bool)])
        ids = torch.cat([(~removed).long().cumsum(0) - 1, torch.tensor([STAYS])])

        def left(row: Tensor) -> Tensor:
            return ids[row[stays[row]]]

        layers = {name: left(row) for name, row in self.layers.items()}
        tensors = {}
        for name, info in self.tensors.items():
            axes = {dim: left(row) for dim, row in info.axes.items()}
            shape = tuple(len(axes[d]) if d in axes else size for d, size in enumerate(info.shape))
            tensors[name] = TensorInfo(shape, info.itemsize, info.trainable, axes)
        return ChannelGraph(
            layers=layers,
            original={name: kept[stays[self.layers[name]]] for name, kept in self.original.items()},
            original_widths=self.original_widths,
            frozen=self.frozen,
            mixed=self.mixed,
            prunable=self.prunable[~removed],
            consumers=[Consumer(c.layer, c.tensors, c.dim, left(c.channels)) for c in self.consumers],
            tensors=tensors,
            costs=[CostTerm(t.layer, t.coefficient, tuple(map(left, t.factors))) for t in self.costs],
            group_counts={name: left(row) for name, row in self.group_counts.items()},
            contracted=self.contracted[~removed],
            frozen_groups={int(ids[i]): why for i, why in self.frozen_groups.items() if stays[i]},
            flows=self.flows,
        )

    def become(self, other: ChannelGraph) -> None:
        """Take over another graph's content, so that whoever holds this graph sees the change."""
        self.__dict__.update(other.__dict__)

    def emptied(self, removed: Tensor) -> list[str]:
        """Layers that would be left without a filter."""
        return [name for name, row in self.layers.items() if len(row) and bool(_taken(removed, row).all())]


def _taken(removed: Tensor, row: Tensor) -> Tensor:
    return torch.cat([removed, torch.zeros(1, dtype=torch.bool)])[row]


def _places(rows: Mapping[str, Tensor], index: int) -> list[tuple[str, int]]:
    return [(name, int(i)) for name, row in rows.items() for i in (row == index).nonzero()]


def size_of(shape: tuple[int, ...]) -> int:
    """Number of elements."""
    return math.prod(shape)
