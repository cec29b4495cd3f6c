"""The models a run may still end with, kept in memory. Knows torch and that a graph lists its layers."""

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor, nn

from pruning_lab.common.errors import LabError


class HasLayers(Protocol):
    """The part of a channel graph that is needed here."""

    @property
    def layers(self) -> Mapping[str, Tensor]:
        """Layer name -> one entry per filter."""


GraphType = TypeVar("GraphType", bound=HasLayers)


@dataclass(frozen=True)
class Snapshot(Generic[GraphType]):
    """A model on the CPU with its graph, as they were when the step was done."""

    step: int
    model: nn.Module
    graph: GraphType

    @property
    def widths(self) -> dict[str, int]:
        """Filters of each layer."""
        return {name: len(filters) for name, filters in self.graph.layers.items()}


class Snapshots(Generic[GraphType]):
    """The last `keep` models that were added, oldest first."""

    def __init__(self, keep: int) -> None:
        if keep < 1:
            raise LabError(f"validation.keep={keep} must be at least 1: the run saves one of its snapshots")
        self._kept: deque[Snapshot[GraphType]] = deque(maxlen=keep)

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Snapshot[GraphType]]:
        return iter(self._kept)

    def add(self, step: int, model: nn.Module, graph: GraphType) -> None:
        """Keeps copies of both; the oldest snapshot leaves when there are too many.

        A step that is added again, after the final recovery, takes the place of its former snapshot.
        """
        # One deep copy of the pair, so that what the two share is shared by their copies.
        model, graph = copy.deepcopy((model, graph))
        snapshot = Snapshot(step, model.cpu(), graph)
        if self._kept and self._kept[-1].step == step:
            self._kept.pop()
        self._kept.append(snapshot)

    def most_promising(self, promises: Mapping[int, float]) -> Snapshot[GraphType]:
        """The snapshot whose step promises most; among equals the latest, which is the smallest network.

        Args:
            promises: step -> promise, for at least the steps that are kept.
        """
        if not self._kept:
            raise LabError("there is no snapshot to choose from: the run has not finished a step")
        return max(self._kept, key=lambda snapshot: (promises[snapshot.step], snapshot.step))
