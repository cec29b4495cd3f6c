"""Keeps layers' widths at multiples that hardware likes. Knows the graph's layers, not scores nor resources.

A width that fits is a multiple, or the one that the layer had in the original. Groups that would leave a layer at any
other are given back, those that would leave last first, until it fits, or loses none. Every step starts from widths
that fit, and so each ends with such.
"""

from __future__ import annotations

from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph

AUTO = "auto"
"""The multiple that the model of latency says."""


def check_multiple(multiple: int | str | None) -> int | str:
    """The multiple, if it is one, or `auto`; 1 where none is given.

    Raises:
        LabError: it is no positive whole number.
    """
    if multiple is None:
        return 1
    if multiple == AUTO:
        return AUTO
    if isinstance(multiple, bool) or not isinstance(multiple, int) or multiple < 1:
        raise LabError(f"selection.round_to={multiple} must be a positive whole number, or auto; 8 suits most hardware")
    return multiple


class Rounding:
    """The widths of one step's model while groups are chosen to leave it.

    Args:
        order: group ids, those that leave first in front.
    """

    def __init__(self, graph: ChannelGraph, multiple: int, order: Tensor) -> None:
        self._multiple = multiple
        self._position = order.argsort()
        self._at_start = graph.widths
        self._width = graph.widths
        self._rows = graph.layers
        self._places: dict[int, list[str]] = {}
        for name, row in graph.layers.items():
            for group in row.tolist():
                self._places.setdefault(group, []).append(name)

    def choose(self, group: int) -> bool:
        """A group is to leave; whether all its layers fit then, so that nothing of them would be given back."""
        for name in self._places[group]:
            self._width[name] -= 1
        return all(self._fits(name, self._width[name]) for name in self._places[group])

    def given_back(self, chosen: Tensor) -> Tensor:
        """What is left of a choice, bool [n_groups], when every layer has to fit."""
        kept = chosen.clone()
        waiting = [place for group in chosen.nonzero().flatten().tolist() for place in self._places[group]]
        waiting = list(dict.fromkeys(waiting))
        while waiting:
            name = waiting.pop()
            row = self._rows[name]
            ids = row[row >= 0]
            leaving = ids[kept[ids]]
            if not self._fits(name, len(row) - len(leaving)):
                last = int(leaving[self._position[leaving].argmax()])
                kept[last] = False
                waiting.extend(self._places[last])
        return kept

    def _fits(self, layer: str, width: int) -> bool:
        return width % self._multiple == 0 or width == self._at_start[layer]
