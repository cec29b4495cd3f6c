"""When a step has removed enough. Knows fractions and counts; neither scores nor networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pruning_lab.common.errors import LabError
from pruning_lab.resources.table import COUNTED, RESOURCES


@dataclass(frozen=True)
class Progress:
    """How far a step has come: fractions of the original left at its start and now, groups at its start and removed.

    Latency within a step is predicted. Without a model of it, it is what it was at the start as long as the step lasts.
    """

    before: Mapping[str, float]
    now: Mapping[str, float]
    groups: int
    removed: int


Amount = Callable[[Progress, frozenset[str]], bool]
"""(progress, unmet resources) -> whether the step has removed enough."""


class Groups:
    """A fixed number of groups per step."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise LabError(f"selection.amount.count={count} must be at least 1")
        self.count = count

    def __call__(self, progress: Progress, unmet: frozenset[str]) -> bool:
        return progress.removed >= self.count


class ShareOfGroups:
    """A fraction of the groups that the model has at the start of the step, at least one."""

    def __init__(self, share: float) -> None:
        self.share = _share(share)

    def __call__(self, progress: Progress, unmet: frozenset[str]) -> bool:
        return progress.removed >= max(1, round(self.share * progress.groups))


class ShareOf:
    """A fraction of one of the original's resources. If that one's budget is already met, of an unmet one's."""

    def __init__(self, resource: str, share: float) -> None:
        if resource not in RESOURCES:
            raise LabError(f"selection.amount.resource={resource} must be one of {', '.join(RESOURCES)}")
        self.resource, self.share = resource, _share(share)

    def __call__(self, progress: Progress, unmet: frozenset[str]) -> bool:
        counted = self._counted(unmet)
        return progress.before[counted] - progress.now[counted] >= self.share

    def _counted(self, unmet: frozenset[str]) -> str:
        others = unmet.intersection(COUNTED)
        return self.resource if self.resource in unmet or not others else min(others)


class ShareOfRemaining(ShareOf):
    """A fraction of what the step finds left of a resource, so that steps grow smaller as the network does."""

    def __call__(self, progress: Progress, unmet: frozenset[str]) -> bool:
        counted = self._counted(unmet)
        return progress.now[counted] <= (1 - self.share) * progress.before[counted]


def _share(share: float) -> float:
    if not 0 < share <= 1:
        raise LabError(f"selection.amount.share={share} must lie in (0, 1]; for 2 % write 0.02")
    return float(share)
