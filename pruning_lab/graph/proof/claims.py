"""What trials have to show: sets of groups that can be cut, say the rules, where the model's code may know better.

Knows the graph, and runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pruning_lab.graph.structure.channels import Channels
from pruning_lab.graph.tracing.interpreter import Suspect


@dataclass(frozen=True)
class Claim:
    """These groups can be cut, say the rules; `places` are the operators that may know better."""

    places: tuple[str, ...]
    groups: tuple[int, ...]
    contracted: bool


def claims_of(graph: Channels, suspects: Sequence[Suspect], provable: Tensor, everywhere: bool = False) -> list[Claim]:
    """Disjoint claims: groups that pass the same suspects stand together.

    Args:
        provable: bool [n_groups], the groups of which anything is claimed.
        everywhere: claim the rest as well, layer by layer, for models whose code may use a number of channels without
            any sign of it.
    """
    passed: dict[int, list[int]] = {}
    for number, suspect in enumerate(suspects):
        for index in suspect.channels.unique().tolist():
            passed.setdefault(index, []).append(number)
    together: dict[tuple[int | str, ...], list[int]] = {}
    known = provable.tolist()
    layer_of = _first_layers(graph) if everywhere else {}
    for index in range(len(graph)) if everywhere else sorted(passed):
        if index >= 0 and known[index]:
            together.setdefault(tuple(passed.get(index) or [layer_of[index]]), []).append(index)
    claims = []
    for key, groups in together.items():
        names = tuple(suspects[one].place if isinstance(one, int) else f"code behind {one}" for one in key)
        contracted = bool(graph.contracted[groups].any())
        claims.append(Claim(names, tuple(groups), contracted))
    return claims


def _first_layers(graph: Channels) -> dict[int, str]:
    """Group -> the first of its layers."""
    found: dict[int, str] = {}
    for name, row in graph.layers.items():
        for index in row.unique().tolist():
            found.setdefault(index, name)
    return found
