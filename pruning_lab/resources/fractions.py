"""What a model costs, beside the original: counted on paper, measured by a clock at the first look at it.

Knows how resources are counted, and not how a clock is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pruning_lab.resources.counting import Resources
from pruning_lab.resources.table import COUNTED, MEASURED, MILLISECONDS, column

Clock = Callable[[], Mapping[str, float]]
"""Measures; gives columns of the history, those of the measured fractions (`resources/latency_fraction`) among them."""


class Fractions(Mapping[str, float]):
    """Fractions of the original that a model has left, by resource. Each is found out at the first look at it, once.

    Args:
        model: the model's resources, or what counts them.
        original: those of the model that it is a part of.
        clock: measures the others; None: they can't be told.
        known: counted fractions that are known without counting.
    """

    def __init__(
        self,
        model: Resources | Callable[[], Resources],
        original: Resources,
        clock: Clock | None = None,
        known: Mapping[str, float] | None = None,
    ) -> None:
        self._model, self._original, self._clock = model, original, clock
        self._counted: dict[str, float] = dict(known or {})
        self._measured: dict[str, float] = {}

    @property
    def now(self) -> Resources:
        """The model's resources."""
        if not isinstance(self._model, Resources):
            self._model = self._model()
        return self._model

    @property
    def row(self) -> dict[str, float]:
        """Counts and counted fractions, and what was measured so far, under the names of the history."""
        fractions = self.now.fractions_of(self._original)
        counts = {"macs": self.now.macs} | {name: self.now.counted(name) for name in fractions}
        row = {f"resources/{name}": float(count) for name, count in counts.items() if count is not None}
        return row | {column(name): fraction for name, fraction in fractions.items()} | self._measured

    @property
    def measured(self) -> dict[str, float]:
        """What the clock says, under the names of the history; empty without a clock."""
        if not self._measured and self._clock is not None:
            self._measured = dict(self._clock())
        return self._measured

    def __getitem__(self, resource: str) -> float:
        if resource in MEASURED or resource == MILLISECONDS:
            return self.measured[column(resource)]
        if resource not in self._counted:
            self._counted |= self.now.fractions_of(self._original) | self._counted
        return self._counted[resource]

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in COUNTED if self._original.counted(name) is not None)
        yield from MEASURED if self._clock is not None else ()

    def __len__(self) -> int:
        return sum(1 for _ in self)
