"""Where modules hold their parameters and buffers. Knows modules, and no graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

if TYPE_CHECKING:
    pass


Modules = dict[str, nn.Module]


def held_tensor(modules: Modules, name: str) -> Tensor:
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
