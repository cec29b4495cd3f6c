"""The account that modules keep of their own sizes, set from their tensors. Knows modules, and no graph."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


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


def channel_attribute(module: nn.Module) -> str:
    """The attribute in which a normalization keeps its number of channels; empty for other modules."""
    if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)):
        return "num_features"
    return "num_channels" if isinstance(module, nn.GroupNorm) else ""


def held_values(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Public attributes with their values; of a partially called function, as `attribute.keyword`, what it is given."""
    for key, value in vars(module).items():
        if key.startswith("_"):
            continue
        if isinstance(value, functools.partial):
            yield from ((f"{key}.{name}", given) for name, given in value.keywords.items())
        else:
            yield key, value


def held_value(module: nn.Module, attribute: str) -> Any:
    """What `held_values` says of an attribute; None where there is none of that name."""
    return dict(held_values(module)).get(attribute)


def set_held_value(module: nn.Module, attribute: str, value: Any) -> None:
    """Set what `held_values` tells; a partially called function is made anew, as others may hold the old one."""
    key, _, name = attribute.partition(".")
    if name:
        old = getattr(module, key)
        value = functools.partial(old.func, *old.args, **{**old.keywords, name: value})
    setattr(module, key, value)


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
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and weight is not None:
        return {"normalized_shape": tuple(weight.shape)}
    if isinstance(module, nn.PReLU):
        return {"num_parameters": len(module.weight)}
    return {}


def _held_weight(module: nn.Module) -> Tensor | None:
    """The weight, or the tensor of its shape from which a parametrization computes it."""
    if (own := module._parameters.get("weight")) is not None:
        return own
    if nn.utils.parametrize.is_parametrized(module, "weight"):
        parts = module.get_submodule("parametrizations.weight")
        return max(parts.parameters(recurse=False), key=Tensor.numel)
    for name in ("weight_v", "weight_orig"):  # of the old weight_norm and spectral_norm, which compute it before a pass
        if (part := module._parameters.get(name)) is not None:
            return part
    weight = getattr(module, "weight", None)
    return weight if isinstance(weight, Tensor) else None
