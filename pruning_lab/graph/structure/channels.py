"""The plain record of a network's channels: groups, layers, consumers, tensors and costs, as a cut leaves them.

Knows torch only. A cut filters the rows of group ids (see `without`), which costs milliseconds, however large the
network is. How a network is read, cut or tried is for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from pruning_lab.graph.structure.flows import Flow
from pruning_lab.graph.structure.id_rows import Remaining, Rows
from pruning_lab.graph.structure.memory import LiveValues
from pruning_lab.graph.structure.records import Consumer, CostTerm, HeldSize, Structure, TensorInfo

STAYS = -1
"""The group id of a channel that belongs to no group: the model's input, padding, positions of a parameter."""


Groups = Tensor | list[int]
"""Group ids, or a bool mask [n_groups]."""


@dataclass(frozen=True)
class Group:
    """The smallest set of filters that can only be removed together, in current indices."""

    filters: list[tuple[str, int]]
    consumers: list[tuple[str, int]]


@dataclass
class Channels:
    """Groups, layers and consumers of a model, as it is now and as it was when it was traced.

    What a cut changes is read off `structure` and `rows` when it is asked for.

    Attributes:
        structure: the network's parts by the rows of group ids that they were traced with.
        rows: what is left of these rows.
        layers: layer name -> int64 [out_channels], the group id of each filter.
        original: layer name -> int64 [out_channels], the index that each filter had when the model was traced.
        original_widths: layer name -> filters that it had then.
        frozen: layer name -> why its filters can't be cut (or some of them, then the text says how many).
        mixed: layer name -> the normalization over channels against which a cut of its filters is exact.
        unused: layers that nothing runs, or whose result nothing reads.
        prunable: bool [n_groups], False where a group feeds the model's output, or is frozen.
        consumers: every read of channels by a layer.
        tensors: parameter and buffer name -> its sizes and the groups along its dimensions.
        costs: multiply-accumulates, operator by operator.
        group_counts: layer name -> group ids of which as many are left as the convolution has groups.
        channel_counts: normalization -> group ids of its channels, for those that hold no tensor to count.
        contracted: bool [n_groups], True where two activations are multiplied and summed over the group.
        mixing: bool [n_groups], True where a normalization over channels sees the group.
        frozen_groups: group id -> why it can't be cut.
        held: attributes of modules that hold numbers of channels; a cut sets them anew.
        flows: which layer's output reaches which layer, and through which normalizations.
        memory: sizes and lifetimes of a forward pass's values; None for a model that can't be recorded.
    """

    structure: Structure
    rows: Rows
    original: dict[str, Tensor]
    original_widths: dict[str, int]
    frozen: dict[str, str]
    mixed: dict[str, str]
    unused: list[str]
    prunable: Tensor
    contracted: Tensor
    mixing: Tensor
    frozen_groups: dict[int, str]

    @cached_property
    def layers(self) -> dict[str, Tensor]:
        return self.rows.of(self.structure.layers)

    @cached_property
    def consumers(self) -> list[Consumer]:
        return [Consumer(c.layer, c.tensors, c.dim, self.rows(c.channels)) for c in self.structure.consumers]

    @cached_property
    def tensors(self) -> dict[str, TensorInfo]:
        return {name: info.now(self.rows) if info.axes else info for name, info in self.structure.tensors.items()}

    @cached_property
    def costs(self) -> list[CostTerm]:
        return [CostTerm(t.layer, t.coefficient, tuple(map(self.rows, t.factors))) for t in self.structure.costs]

    @cached_property
    def group_counts(self) -> dict[str, Tensor]:
        return self.rows.of(self.structure.group_counts)

    @cached_property
    def channel_counts(self) -> dict[str, Tensor]:
        return self.rows.of(self.structure.channel_counts)

    @cached_property
    def held(self) -> list[HeldSize]:
        return [held.now(self.rows) for held in self.structure.held]

    @cached_property
    def memory(self) -> LiveValues | None:
        return None if self.structure.memory is None else self.structure.memory.now(self.rows)

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        return self.structure.flows.listed()

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

    def cuttable(self) -> int:
        """How many filters can be cut."""
        stays = torch.cat([self.prunable, torch.zeros(1, dtype=torch.bool)])
        return sum(int(stays[row].sum()) for row in self.layers.values())

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

    def without(self, removed: Tensor) -> Self:
        """The graph after the groups of a bool mask [n_groups] have left; ids close ranks in their old order."""
        return self.left_by(self.remaining(removed))

    def remaining(self, removed: Tensor) -> Remaining:
        """What is left of all rows of the graph after the groups of a bool mask [n_groups] have left."""
        return Remaining(removed, self.rows.now)

    def left_by(self, left: Remaining) -> Self:
        """The graph that is left, see `without`."""
        stays = left.stays[:-1]
        return replace(
            self,
            rows=self.rows.left_by(left),
            original=self._original_left_by(left),
            prunable=self.prunable[stays],
            contracted=self.contracted[stays],
            mixing=self.mixing[stays],
            frozen_groups=self._frozen_left_by(left),
        )

    def _original_left_by(self, left: Remaining) -> dict[str, Tensor]:
        if not self.layers:
            return {}
        stays = left.stays[torch.cat(list(self.layers.values()))]
        indices = torch.cat([self.original[name] for name in self.layers])[stays]
        lengths = [left.length(row) for row in self.layers.values()]
        return dict(zip(self.layers, indices.split(lengths), strict=True))

    def _frozen_left_by(self, left: Remaining) -> dict[int, str]:
        frozen = torch.tensor(list(self.frozen_groups), dtype=torch.int64)
        known = zip(left.stays[frozen].tolist(), left.ids[frozen].tolist(), self.frozen_groups.values(), strict=True)
        return {index: why for stays, index, why in known if stays}

    def with_held(self, held: list[HeldSize]) -> Self:
        """The graph of a model that is as it was traced, with these attributes to set anew beside those it has."""
        known = {(one.module, one.attribute) for one in self.structure.held}
        added = [one for one in held if (one.module, one.attribute) not in known]
        structure = replace(self.structure, held=[*self.structure.held, *added])
        return replace(self, structure=structure, rows=Rows(structure.rows()))

    def with_frozen(self, reasons: Mapping[int, str]) -> Self:
        """The graph with more groups that can't be cut: group id -> why."""
        frozen_groups = {**self.frozen_groups, **reasons}
        prunable = self.prunable.clone()
        prunable[list(reasons)] = False
        frozen = {**self.frozen, **by_layer(self.layers, frozen_groups)}
        return replace(self, frozen=frozen, prunable=prunable, frozen_groups=frozen_groups)

    @staticmethod
    def taken(removed: Tensor, row: Tensor) -> Tensor:
        """Which entries of a row of group ids belong to the groups of a bool mask [n_groups]; STAYS never does."""
        return torch.cat([removed, torch.zeros(1, dtype=torch.bool)])[row]

    def become(self, other: Channels) -> None:
        """Take over another graph's content, so that all who hold this graph see the change."""
        self.__dict__.clear()
        self.__dict__.update(other.__dict__)

    def emptied(self, removed: Tensor) -> list[str]:
        """Layers that would be left without a filter."""
        return self.emptied_by(Remaining(removed, self.layers.values()))

    def emptied_by(self, left: Remaining) -> list[str]:
        """The same, of what is known to be left."""
        return [name for name, row in self.layers.items() if len(row) and not left.length(row)]


def by_layer(layers: Mapping[str, Tensor], reasons: Mapping[int, str]) -> dict[str, str]:
    """Layer -> the reason of its groups; where it holds for some filters only, the text says for how many."""
    result: dict[str, str] = {}
    if not reasons:
        return result
    for name, row in layers.items():
        told = [reasons[index] for index in row.tolist() if index in reasons]
        if told:
            part = "" if len(told) == len(row) else f"{len(told)} of {len(row)} filters: "
            result[name] = part + told[0]
    return result


def _places(rows: Mapping[str, Tensor], index: int) -> list[tuple[str, int]]:
    return [(name, int(i)) for name, row in rows.items() for i in (row == index).nonzero()]
