"""Takes channels out of a live model. Knows modules, tensors and the record of channels.

A cut's effect ends at the consumers' input channels: the consumers keep all their own filters, so nothing further
down changes its width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import every_path
from pruning_lab.graph.cutting.held_tensors import Holders, Modules, held_tensor, holders_of
from pruning_lab.graph.cutting.module_sizes import channel_attribute, fit_attributes, held_value, set_held_value
from pruning_lab.graph.cutting.slices import Kept, kept_part
from pruning_lab.graph.structure.channels import Channels, Groups
from pruning_lab.graph.structure.id_rows import Remaining

Keep = dict[int, Kept]
"""What is left of the dimensions that lose anything."""


def cut(model: nn.Module, graph: Channels, groups: Groups, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Remove groups from a model and from its graph, both in place.

    What remains of every weight, bias, running statistic and optimizer state is carried over bit for bit.

    Args:
        groups: group ids, or a bool mask [n_groups].
        optimizer: its parameter lists and its state are cut as well.

    Raises:
        LabError: a group is not prunable, or a layer would be left without a filter. Nothing is changed then.
    """
    _cut(model, graph, groups, optimizer, kept_part)


def cut_shapes(model: nn.Module, graph: Channels, groups: Groups) -> None:
    """The same for a model that is only to be seen running: parameters are zeros, and no weight is moved."""
    _cut(model, graph, groups, None, _zeros_left)


LeftOf = Callable[[Tensor, Keep], Tensor]
"""What a cut makes of a tensor."""


def _cut(
    model: nn.Module, graph: Channels, groups: Groups, optimizer: torch.optim.Optimizer | None, left_of: LeftOf
) -> None:
    left = graph.remaining(graph.as_mask(groups))
    _check_groups(graph, left)
    if not bool(left.removed.any()):
        return
    modules = dict(every_path(model))
    changes = [Change(name, held_tensor(modules, name), keep) for name, keep in _keeps(graph, left)]
    _check_tensors(graph, changes, optimizer)
    holders = holders_of(modules, [change.tensor for change in changes])
    replaced = []
    for change in changes:
        replaced.append(_replace(change, holders, left_of))
        _renew_computed(modules, change)
    if optimizer is not None:
        _replace_in_optimizer(optimizer, changes, replaced)
    graph.become(graph.left_by(left))
    _update_modules(modules, graph, changes, holders)


class Change(NamedTuple):
    """A tensor that a cut changes, by its name, as it is before, and what is left of it."""

    name: str
    tensor: Tensor
    keep: Keep


def _keeps(graph: Channels, left: Remaining) -> Iterator[tuple[str, Keep]]:
    """Every tensor that a cut changes, and what is left of it."""
    kept = {
        id(row): Kept(left.places(now), left.gaps(now))
        for row, now in graph.rows.pairs()
        if left.length(now) < now.shape[0]
    }
    for name, info in graph.structure.tensors.items():
        keep = {dim: kept[id(row)] for dim, row in info.axes.items() if id(row) in kept}
        if keep:
            yield name, keep


def _check_groups(graph: Channels, left: Remaining) -> None:
    forbidden = (left.removed & ~graph.prunable).nonzero().flatten().tolist()
    if forbidden:
        layer, index = graph.group(forbidden[0]).filters[0]
        why = graph.frozen_groups.get(forbidden[0], "it is not prunable")
        raise LabError(f"group {forbidden[0]} (filter {index} of {layer}) can't be cut: {why}; leave it out")
    if emptied := graph.emptied_by(left):
        raise LabError(f"layer {emptied[0]} would lose all its filters; keep at least one of its groups")


def _check_tensors(graph: Channels, changes: list[Change], optimizer: torch.optim.Optimizer | None) -> None:
    for name, tensor, _ in changes:
        found, expected = tuple(tensor.shape), graph.structure.tensors[name].shape_now(graph.rows)
        if found != expected:
            raise LabError(f"{name} has shape {found}, but the graph knows it as {expected}; trace the model anew")
        for key, item in (optimizer.state.get(tensor, {}) if optimizer is not None else {}).items():
            if isinstance(item, Tensor) and item.dim() > 0 and item.shape != tensor.shape:
                raise LabError(
                    f"optimizer {type(optimizer).__name__} keeps '{key}' of {name} in another shape than {name} has, "
                    "so it can't be cut along; set recovery.optimizer_state=reset"
                )


def _zeros_left(tensor: Tensor, keep: Keep) -> Tensor:
    """Zeros of the sizes that are left; of whole numbers, which may be indices, what is left."""
    if not tensor.is_floating_point():
        return kept_part(tensor, keep)
    return tensor.new_zeros([len(keep[dim].index) if dim in keep else size for dim, size in enumerate(tensor.shape)])


def _replace(change: Change, holders: Holders, left_of: LeftOf) -> Tensor:
    """Slice a parameter or buffer wherever a module holds it.

    A new Parameter, and not new data in the old one: a graph that autograd still holds would remember the old shape.
    """
    old, keep = change.tensor, change.keep
    new = left_of(old, keep)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
        if old.grad is not None:
            new.grad = kept_part(old.grad, keep)
    for held, key in holders[id(old)]:
        held[key] = new
    return new


def _renew_computed(modules: Modules, change: Change) -> None:
    """The old weight_norm and spectral_norm leave a computed weight beside its parts; it takes their new shape."""
    owner, _, leaf = change.name.rpartition(".")
    if leaf not in {"weight_v", "weight_orig"}:
        return
    held = vars(modules[owner])
    computed = held.get("weight")
    if isinstance(computed, Tensor) and computed.shape == change.tensor.shape:
        held["weight"] = kept_part(computed, change.keep)


def _replace_in_optimizer(optimizer: torch.optim.Optimizer, changes: list[Change], replaced: list[Tensor]) -> None:
    new_of = {id(change.tensor): new for change, new in zip(changes, replaced, strict=True)}
    for group in optimizer.param_groups:
        group["params"] = [new_of.get(id(parameter), parameter) for parameter in group["params"]]
    for change, new in zip(changes, replaced, strict=True):
        if change.tensor in optimizer.state:
            optimizer.state[new] = {
                key: kept_part(item, change.keep) if isinstance(item, Tensor) and item.dim() > 0 else item
                for key, item in optimizer.state.pop(change.tensor).items()
            }


def _groups_of(graph: Channels, layer: str) -> int | None:
    groups = graph.group_counts.get(layer)
    return None if groups is None else len(groups)


def _update_modules(modules: Modules, graph: Channels, changes: list[Change], holders: Holders) -> None:
    """Let the account that modules keep of their sizes agree with their tensors."""
    for owner in {change.name.rpartition(".")[0].removesuffix(".parametrizations.weight") for change in changes}:
        fit_attributes(modules[owner], _groups_of(graph, owner))
    shared = [change for change in changes if len(holders[id(change.tensor)]) > 1]
    if shared:
        holding = {
            id(places): module for module in modules.values() for places in (module._parameters, module._buffers)
        }
        for change in shared:
            for places, _ in holders[id(change.tensor)]:
                fit_attributes(holding[id(places)], _groups_of(graph, change.name.rpartition(".")[0]))
    for name, row in graph.channel_counts.items():
        if attribute := channel_attribute(modules[name]):
            setattr(modules[name], attribute, len(row))
    for held in graph.held:
        module = modules[held.module]
        set_held_value(module, held.attribute, held.value(held_value(module, held.attribute)))
