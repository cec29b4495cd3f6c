"""The search for claims that fail, by trials of many at once. Knows no model and no cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pruning_lab.graph.proof.claims import Claim

MOST_TRIALS = 64
"""After so many trials the search for the guilty goes no deeper: tracing must end in reasonable time."""


class Trial(Protocol):
    """Tells what goes wrong when some of every claim's groups are cut, None if nothing does; `count` is how often."""

    count: int

    def __call__(self, claims: list[Claim]) -> str | None: ...


def guilty_of(claims: list[Claim], trial: Trial, known: str | None = None) -> dict[Claim, str]:
    """Claims that fail, and what happens then; `known` where all together have failed already.

    What attention contracts is looked for together, since it is tried in double precision, which takes longer.
    """
    return _bisect(sorted(claims, key=lambda claim: not claim.contracted), trial, known)


def missed(claims: list[Claim], guilty: Mapping[Claim, str], trial: Trial) -> dict[Claim, str]:
    """Claims that still fail, alone or together: in the search draws of theirs may have agreed by chance."""
    found: dict[Claim, str] = {}
    left = [claim for claim in claims if claim not in guilty]
    while left and (what := trial(left)) is not None:
        found |= guilty_of(left, trial) or dict.fromkeys(left, what)
        left = [claim for claim in left if claim not in found]
    return found


def _bisect(claims: list[Claim], trial: Trial, known: str | None = None) -> dict[Claim, str]:
    """The claims that fail on their own, found by halving; claims that fail only together all count.

    When too many trials have been spent, claims that fail together count as they stand.
    """
    if not claims or (what := known or trial(claims)) is None:
        return {}
    if len(claims) == 1 or trial.count > MOST_TRIALS:
        return dict.fromkeys(claims, what)
    middle = len(claims) // 2
    found = {**_bisect(claims[:middle], trial), **_bisect(claims[middle:], trial)}
    return found or dict.fromkeys(claims, what)
