"""What a network is made of, as it was traced: layers, tensors, reads and costs, each by its rows of group ids.

A cut changes none of it. It changes the rows, which `Rows` keeps apart: thousands of records stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pruning_lab.graph.structure.flows import Flows
from pruning_lab.graph.structure.id_rows import Rows
from pruning_lab.graph.structure.memory import LiveValues


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A parameter or buffer: its sizes, bytes per element, and the group ids along its dimensions."""

    shape: tuple[int, ...]
    itemsize: int
    trainable: bool
    axes: Mapping[int, Tensor] = field(default_factory=dict)

    def now(self, rows: Rows) -> TensorInfo:
        """What is left of it."""
        axes = {dim: rows(row) for dim, row in self.axes.items()}
        return TensorInfo(self.shape_now(rows), self.itemsize, self.trainable, axes)

    def shape_now(self, rows: Rows) -> tuple[int, ...]:
        """Its sizes, as they are left."""
        shape = list(self.shape)
        for dim, row in self.axes.items():
            shape[dim] = rows.length(row)
        return tuple(shape)


@dataclass(frozen=True, slots=True)
class Consumer:
    """A layer's input: `channels` int64 [in_channels] holds the group id of every channel it reads."""

    layer: str
    tensors: tuple[str, ...]
    dim: int
    channels: Tensor


@dataclass(frozen=True, slots=True)
class CostTerm:
    """Multiply-accumulates of one operator: coefficient x the lengths of `factors` (group ids each)."""

    layer: str
    coefficient: int
    factors: tuple[Tensor, ...]


Size = Tensor | int
"""A number that depends on the channels: the length of a row of group ids; or one that does not."""


@dataclass(frozen=True, slots=True)
class HeldSize:
    """A module's attribute that holds numbers of channels: an int the only one of `parts`, a list or tuple all."""

    module: str
    attribute: str
    parts: tuple[Size, ...]

    def value(self, before: Any) -> Any:
        """What the attribute must be now; `before` tells its type."""
        numbers = [len(part) if isinstance(part, Tensor) else part for part in self.parts]
        return type(before)(numbers) if isinstance(before, (list, tuple)) else numbers[0]

    def now(self, rows: Rows) -> HeldSize:
        """What is left of it."""
        parts = tuple(rows(part) if isinstance(part, Tensor) else part for part in self.parts)
        return HeldSize(self.module, self.attribute, parts)

    @property
    def rows(self) -> list[Tensor]:
        """The parts that depend on the channels."""
        return [part for part in self.parts if isinstance(part, Tensor)]


@dataclass(frozen=True)
class Structure:
    """A network's parts; see the attributes of the same names of `ChannelGraph`, which are as a cut leaves them.

    Attributes:
        split: where a view splits channels in several dimensions, the one of these that keeps them, from the last: 1.
    """

    layers: dict[str, Tensor]
    consumers: list[Consumer]
    tensors: dict[str, TensorInfo]
    costs: list[CostTerm]
    group_counts: dict[str, Tensor]
    channel_counts: dict[str, Tensor]
    held: list[HeldSize] = field(default_factory=list)
    split: int = 1
    memory: LiveValues | None = None
    flows: Flows = field(default_factory=lambda: Flows.of(()))

    def rows(self) -> Iterator[Tensor]:
        """Every row of group ids that it holds, some of them several times."""
        yield from self.layers.values()
        yield from self.group_counts.values()
        yield from self.channel_counts.values()
        yield from (consumer.channels for consumer in self.consumers)
        for info in self.tensors.values():
            yield from info.axes.values()
        for term in self.costs:
            yield from term.factors
        for held in self.held:
            yield from held.rows
        if self.memory is not None:
            yield from self.memory.rows
