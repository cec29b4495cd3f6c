"""Takes channels out of a live model, or out of sight. Knows modules, tensors and the channel graph's arrays.

A cut's effect ends at the consumers' input channels: the consumers keep all their own filters, so nothing further
down changes its width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from pruning_lab.errors import LabError
from pruning_lab.slicing import Kept, left_of

if TYPE_CHECKING:
    from pruning_lab.graph import ChannelGraph
    from pruning_lab.graph.rows import Remaining

Groups = Tensor | list[int]


def cut(model: nn.Module, graph: ChannelGraph, groups: Groups, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Remove groups from a model and from its graph, both in place.

    What remains of every weight, bias, running statistic and optimizer state is carried over bit for bit.

    Args:
        groups: group ids, or a bool mask [n_groups].
        optimizer: its parameter lists and its state are cut as well.

    Raises:
        LabError: a group is not prunable, or a layer would be left without a filter. Nothing is changed then.
    """
    left = graph.remaining(graph.as_mask(groups))
    _check_groups(graph, left)
    if not bool(left.removed.any()):
        return
    modules = dict(model.named_modules(remove_duplicate=False))
    changes = [Change(name, _held(modules, name), keep) for name, keep in _keeps(graph, left)]
    _check_tensors(graph, changes, optimizer)
    holders = holders_of(modules, [change.tensor for change in changes])
    replaced = []
    for change in changes:
        replaced.append(_replace(change, holders))
        _renew_computed(modules, change)
    if optimizer is not None:
        _replace_in_optimizer(optimizer, changes, replaced)
    graph.become(graph.left_by(left))
    _update_modules(modules, graph, [change.name for change in changes])


def mask(model: nn.Module, graph: ChannelGraph, groups: Groups) -> None:
    """Zero, in place, the weights by which anything reads these groups' channels; all shapes stay.

    Where two activations are multiplied and summed over a channel (attention), no weight reads it; there the
    channel's own filters are zeroed.
    """
    removed = graph.as_mask(groups)
    modules = dict(model.named_modules(remove_duplicate=False))
    for consumer in graph.consumers:
        for name in consumer.tensors:
            row = graph.tensors[name].axes.get(consumer.dim)
            if row is not None:
                _zero(_held(modules, name), consumer.dim, graph.taken(removed, row))
    silenced = removed & graph.contracted
    if bool(silenced.any()):
        for name, info in graph.tensors.items():
            for dim, row in info.axes.items():
                if info.trainable:
                    _zero(_held(modules, name), dim, graph.taken(silenced, row))


Keep = dict[int, Kept]
"""What is left of the dimensions that lose anything."""


class Change(NamedTuple):
    """A tensor that a cut changes, by its name, as it is before, and what is left of it."""

    name: str
    tensor: Tensor
    keep: Keep


def _keeps(graph: ChannelGraph, left: Remaining) -> Iterator[tuple[str, Keep]]:
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


def _check_groups(graph: ChannelGraph, left: Remaining) -> None:
    forbidden = (left.removed & ~graph.prunable).nonzero().flatten().tolist()
    if forbidden:
        layer, index = graph.group(forbidden[0]).filters[0]
        why = graph.frozen_groups.get(forbidden[0], "it is not prunable")
        raise LabError(f"group {forbidden[0]} (filter {index} of {layer}) can't be cut: {why}; leave it out")
    if emptied := graph.emptied_by(left):
        raise LabError(f"layer {emptied[0]} would lose all its filters; keep at least one of its groups")


def _check_tensors(graph: ChannelGraph, changes: list[Change], optimizer: torch.optim.Optimizer | None) -> None:
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


def _zero(tensor: Tensor, dim: int, gone: Tensor) -> None:
    if bool(gone.any()):
        with torch.no_grad():
            tensor.index_fill_(dim, gone.nonzero().squeeze(1).to(tensor.device), 0)


Modules = dict[str, nn.Module]


def _held(modules: Modules, name: str) -> Tensor:
    """A parameter or buffer by its name."""
    owner, _, leaf = name.rpartition(".")
    module = modules[owner]
    tensor = module._parameters.get(leaf)
    return cast(Tensor, module._buffers[leaf] if tensor is None else tensor)


Holders = dict[int, list[tuple[dict[str, Any], str]]]


def holders_of(modules: Modules, tensors: Iterable[Tensor]) -> Holders:
    """Identity of each of these tensors -> every place where a module holds it; a shared parameter has several."""
    places: Holders = {id(tensor): [] for tensor in tensors}
    for module in modules.values():
        for held in (module._parameters, module._buffers):
            for key, tensor in held.items():
                if id(tensor) in places:
                    places[id(tensor)].append((held, key))
    return places


def _replace(change: Change, holders: Holders) -> Tensor:
    """Slice a parameter or buffer wherever a module holds it.

    A new Parameter, and not new data in the old one: a graph that autograd still holds would remember the old shape.
    """
    old, keep = change.tensor, change.keep
    new = left_of(old, keep)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
        if old.grad is not None:
            new.grad = left_of(old.grad, keep)
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
        held["weight"] = left_of(computed, change.keep)


def _replace_in_optimizer(optimizer: torch.optim.Optimizer, changes: list[Change], replaced: list[Tensor]) -> None:
    new_of = {id(change.tensor): new for change, new in zip(changes, replaced, strict=True)}
    for group in optimizer.param_groups:
        group["params"] = [new_of.get(id(parameter), parameter) for parameter in group["params"]]
    for change, new in zip(changes, replaced, strict=True):
        if change.tensor in optimizer.state:
            optimizer.state[new] = {
                key: left_of(item, change.keep) if isinstance(item, Tensor) and item.dim() > 0 else item
                for key, item in optimizer.state.pop(change.tensor).items()
            }


def _update_modules(modules: Modules, graph: ChannelGraph, changed: Iterable[str]) -> None:
    """Let the account that modules keep of their sizes agree with their tensors."""
    for owner in {name.rpartition(".")[0].removesuffix(".parametrizations.weight") for name in changed}:
        groups = graph.group_counts.get(owner)
        fit_attributes(modules[owner], None if groups is None else len(groups))
    for name, row in graph.channel_counts.items():
        module = modules[name]
        if isinstance(module, nn.modules.instancenorm._InstanceNorm) and module.num_features != len(row):
            module.num_features = len(row)
    for held in graph.held:
        setattr(modules[held.module], held.attribute, held.value(getattr(modules[held.module], held.attribute)))


def fit_attributes(module: nn.Module, groups: int | None = None) -> dict[str, Any]:
    """Set a module's size attributes from its tensors' shapes.

    Args:
        groups: the new number of a convolution's groups, where it changed.

    Returns:
        the attributes as they are now; empty for modules that keep no account of sizes.
    """
    sizes = _sizes(module, groups)
    for key, size in sizes.items():
        if getattr(module, key) != size:
            setattr(module, key, size)
    return sizes


def _sizes(module: nn.Module, groups: int | None) -> dict[str, Any]:
    weight = _held_weight(module)
    if isinstance(module, nn.modules.conv._ConvNd):
        groups = groups or module.groups
        one, other = weight.shape[0], weight.shape[1] * groups  # type: ignore[union-attr]
        out, inputs = (other, one) if module.transposed else (one, other)
        return {"out_channels": out, "in_channels": inputs, "groups": groups}
    if isinstance(module, nn.Linear):
        return {"out_features": weight.shape[0], "in_features": weight.shape[1]}  # type: ignore[union-attr]
    if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)):
        known = weight if weight is not None else module.running_mean
        return {} if known is None else {"num_features": len(known)}
    if isinstance(module, nn.GroupNorm) and weight is not None:
        return {"num_channels": len(weight)}
    if isinstance(module, nn.LayerNorm) and weight is not None:
        return {"normalized_shape": tuple(weight.shape)}
    if isinstance(module, nn.PReLU):
        return {"num_parameters": len(module.weight)}
    return {}


def _held_weight(module: nn.Module) -> Tensor | None:
    """The weight, or the tensor of its shape from which a parametrisation computes it."""
    if nn.utils.parametrize.is_parametrized(module, "weight"):
        parts = module.get_submodule("parametrizations.weight")
        return max(parts.parameters(recurse=False), key=Tensor.numel)
    weight = getattr(module, "weight", None)
    return weight if isinstance(weight, Tensor) else None
