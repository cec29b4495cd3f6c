"""Whether a cut is what the graph says it is, of any groups of any model, as it is asked after each step of a run.

Knows the graph, its cut and its mask, and no operator.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of
from pruning_lab.common.modules import in_mode
from pruning_lab.graph.build import read_graph
from pruning_lab.graph.proof.comparison import WholePass, compare
from pruning_lab.graph.proof.precision import in_double
from pruning_lab.graph.structure.channels import Channels
from pruning_lab.graph.tracing.recording import Inputs, TraceError, as_inputs


def verify(model: nn.Module, graph: Channels, groups: Tensor | list[int], inputs: Inputs) -> float:
    """Cut one copy of the model, mask another, run both in evaluation mode, and compare. Nothing is changed.

    Where a normalization mixes channels, the masked copy's normalization is taken over the channels that are left. The
    model is read anew for it. What is tied together in that reading, and was not before earlier cuts, is then cut as a
    whole, or not at all where it can't. All is done in double precision where the model runs so: float32 rounds to ten
    bits on some devices.

    Args:
        groups: prunable groups, as ids or a bool mask [n_groups].
        inputs: what the model takes, on its device.

    Returns:
        the largest difference between two outputs, relative to the largest value of that output.

    Raises:
        LabError: a group is not prunable, or a layer would be left without a filter.
    """
    removed, given = graph.as_mask(groups), as_inputs(inputs)
    with in_mode(model, training=False):
        model, given = in_double(model, given) or (model, given)
    try:
        fresh, reading = read_graph(model, given, split=graph.structure.split)
    except TraceError:  # the graph came from connections
        return compare(copy_of(model).eval(), graph, removed, [WholePass(given)])
    removed = _whole(graph, fresh, removed)
    run = WholePass(given, reading, _same_groups(graph, fresh, removed))
    return compare(copy_of(model).eval(), graph, removed, [run])


def _whole(graph: Channels, fresh: Channels, removed: Tensor) -> Tensor:
    """Groups of `graph` that are removed with all that `fresh` ties to them; without those where this can't leave.

    Of groups that are mixed, those that `fresh` does not know stay too: nothing is there to compare them with.
    """
    removed = removed & (_same_groups(fresh, graph, _same_groups(graph, fresh, removed)) | ~graph.mixing)
    tied = _same_groups(fresh, graph, _same_groups(graph, fresh, removed))
    while bool((tied & ~removed).any()):
        if bool((tied & ~graph.prunable).any()) or graph.emptied(tied):
            partly = _same_groups(graph, fresh, tied & ~removed)
            return removed & ~_same_groups(fresh, graph, partly)
        removed = tied
        tied = _same_groups(fresh, graph, _same_groups(graph, fresh, removed))
    return removed


def _same_groups(graph: Channels, fresh: Channels, removed: Tensor) -> Tensor:
    """A bool mask of `graph`'s groups, as one of the groups of `fresh`, by the tensors that they have in common."""
    found = torch.zeros(len(fresh), dtype=torch.bool)
    others = fresh.tensors
    for name, info in graph.tensors.items():
        for dim, row in info.axes.items():
            other = others[name].axes.get(dim)
            if other is not None:
                ids = other[graph.taken(removed, row)]
                found[ids[ids >= 0]] = True
    return found
