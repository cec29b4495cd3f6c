"""The resources that a budget can be on, one row each; everything else that lists them derives from here.

Knows names alone: how a resource is counted is for `counting`, how it is measured for `latency`.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from pruning_lab.common.errors import LabError


@dataclass(frozen=True)
class Resource:
    """One resource.

    Attributes:
        name: the key in configs, the attribute of `Resources`, and the middle of a column's name in the history.
        spelled: for people.
        ranked_by: the resource whose savings steer the selection when this one is above its budget: itself where it is
            known what each group would save of it.
        counted: known on paper, also of a model that has not been cut yet; if not, a model has to run.
        by_layer: a whole is the sum of its layers', so that a layer can have a floor on it.
        peak: what a group saves of it depends on which other groups leave.
        milestones: a run tells its score at fractions of it.
        in_step_line: shown on the console after every step.
    """

    name: str
    spelled: str
    ranked_by: str
    counted: bool = True
    by_layer: bool = False
    peak: bool = False
    milestones: bool = False
    in_step_line: bool = False

    @property
    def column(self) -> str:
        """The history's name of the fraction of the original that is left."""
        return f"resources/{self.name}_fraction"


TABLE = {
    row.name: row
    for row in (
        Resource("flops", "FLOPs", "flops", by_layer=True, milestones=True, in_step_line=True),
        Resource("weights", "weights", "weights", by_layer=True, milestones=True, in_step_line=True),
        Resource("bytes", "bytes", "weights"),
        Resource("memory", "memory", "memory", peak=True),
        Resource("latency", "latency", "flops", counted=False, in_step_line=True),
    )
}
"""Name -> row, in the order in which resources are listed everywhere."""

RESOURCES = tuple(TABLE)
"""Everything that a budget can be on."""

COUNTED = tuple(row.name for row in TABLE.values() if row.counted)
"""Resources that are known on paper, also of a model that has not been cut yet."""

MEASURED = tuple(row.name for row in TABLE.values() if not row.counted)
"""Resources that only a run can tell."""

MILLISECONDS = "latency_ms"
"""A budget on latency in milliseconds, beside the one on its fraction; it is no resource of its own."""

NOTHING_LEFT_OUT = {**dict.fromkeys(RESOURCES, 1.0), MILLISECONDS: math.inf}
"""What a stop rule sees of a network of which nothing has left."""

RANKED = tuple(row.name for row in TABLE.values() if row.ranked_by == row.name)
"""Resources of which it is known what each group would save; a ranking may prefer them."""

BY_LAYER = tuple(row.name for row in TABLE.values() if row.by_layer)
"""Resources of which every layer has its own share."""


def column(resource: str) -> str:
    """The history's name of the fraction of the original's that is left of a resource."""
    return "latency/ms" if resource == MILLISECONDS else TABLE[resource].column


def check_resource(key: str, name: str) -> str:
    """The name, if it is a resource's.

    Raises:
        LabError: it is not; `key` is where it stands in the config.
    """
    if name in TABLE or name == MILLISECONDS:
        return name
    near = difflib.get_close_matches(name, RESOURCES, n=1)
    hint = f"did you mean {key}.{near[0]}?" if near else f"use one of {', '.join(RESOURCES)}"
    raise LabError(f"{key}.{name} is not a resource; {hint}")


def spelled(resource: str) -> str:
    """A resource as people write it; a name that is not in the table stays as it is."""
    return TABLE[resource].spelled if resource in TABLE else resource
