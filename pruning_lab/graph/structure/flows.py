"""Whose output reaches whom, as records: layer to layer. Knows names, and neither graphs nor channels.

Names only, so it stays true through every cut. Which of a source's channels a reader sees follows from their groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Flow:
    """The output of layer `source` reaches the input of layer `reader`, through the normalizations `norms` in turn."""

    source: str
    reader: str
    norms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flows:
    """Many flows in little memory: in a residual network every layer feeds all the later ones.

    Attributes:
        layers, norms: every distinct layer, and every distinct sequence of normalizations.
        places: int32 [flows, 3], the places of source and reader in `layers` and that of the rest in `norms`.
    """

    layers: tuple[str, ...]
    norms: tuple[tuple[str, ...], ...]
    places: np.ndarray

    @staticmethod
    def of(flows: Iterable[Flow]) -> Flows:
        """The same flows, in their order."""
        layers: dict[str, int] = {}
        norms: dict[tuple[str, ...], int] = {}
        places = [
            (
                layers.setdefault(flow.source, len(layers)),
                layers.setdefault(flow.reader, len(layers)),
                norms.setdefault(flow.norms, len(norms)),
            )
            for flow in flows
        ]
        return Flows(tuple(layers), tuple(norms), np.array(places, dtype=np.int32).reshape(-1, 3))

    def listed(self) -> tuple[Flow, ...]:
        """One by one."""
        return tuple(Flow(self.layers[s], self.layers[r], self.norms[n]) for s, r, n in self.places.tolist())
