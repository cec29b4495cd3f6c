"""What a step's model costs, beside the original: counted on paper, measured on the clock when somebody asks.

Knows resources, and not how a clock is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pruning_lab.resources.counting import Resources


class Costs(Mapping[str, float]):
    """Fractions of the original that a model has left, by resource; latency is measured at the first look at it.

    Args:
        now: the model's resources.
        clock: measures; gives rows of the history, `resources/latency_fraction` among them.
    """

    def __init__(self, now: Resources, original: Resources, clock: Callable[[], dict[str, float]]) -> None:
        self.now = now
        self._fractions = now.fractions_of(original)
        self._clock = clock
        self._measured: dict[str, float] = {}

    def __getitem__(self, resource: str) -> float:
        if resource != "latency":
            return self._fractions[resource]
        if not self._measured:
            self._measured = self._clock()
        return self._measured["resources/latency_fraction"]

    def __iter__(self) -> Iterator[str]:
        yield from (*self._fractions, "latency")

    def __len__(self) -> int:
        return len(self._fractions) + 1

    @property
    def row(self) -> dict[str, float]:
        """All that is known so far, under the names of the history."""
        counts = {name: getattr(self.now, name) for name in ("macs", *self._fractions)}
        row = {f"resources/{name}": float(value) for name, value in counts.items()}
        return row | {f"resources/{name}_fraction": value for name, value in self._fractions.items()} | self._measured


Fractions = Mapping[str, float]


class LazyFractions(Mapping[str, float]):
    """Fractions of which some are found out only when somebody asks, and then once."""

    def __init__(self, sources: Mapping[str, float | Callable[[], float]]) -> None:
        self._sources = dict(sources)

    def __getitem__(self, resource: str) -> float:
        found = self._sources[resource]
        if callable(found):
            found = self._sources[resource] = found()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)
