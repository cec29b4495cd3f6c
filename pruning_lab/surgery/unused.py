"""Layers that nothing reads: weighed, and taken out of a model where it runs without them just the same.

Knows modules and the channel graph; must not know where a model comes from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of
from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import in_mode, layer_name, random_kept, tensors_in
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.tracing.connections import Connections
from pruning_lab.graph.tracing.recording import Inputs, as_inputs

SHOWN = 3
"""Unused layers that a message names; it counts the others."""


class Dropped(nn.Identity):
    """Stands where an unused part was. A checkpoint finds by it what the original had and the model has not."""


def drop(model: nn.Module, names: Iterable[str]) -> None:
    """Put `Dropped` in place of submodules, in place.

    Raises:
        LabError: there is no such submodule.
    """
    for name in names:
        try:
            model.set_submodule(name, Dropped(), strict=True)
        except (AttributeError, ValueError) as error:
            raise LabError(f"{type(model).__name__} has no part {name} that could be dropped") from error


def dropped(model: nn.Module) -> list[str]:
    """The names of what was dropped from a model."""
    return [name for name, part in model.named_modules() if isinstance(part, Dropped)]


@torch.no_grad()
def drop_unused(model: nn.Module, example_input: Inputs, connections: Connections | None = None) -> list[str]:
    """Drop the largest parts that hold unused layers only, in place.

    Each is tried on a copy first: it goes only if the model gives the same bits without it and still trains, so a
    layer that runs for nothing stays where its neighbors need it.

    Args:
        connections: as for `ChannelGraph.trace`.

    Returns:
        the names of what was dropped.
    """
    inputs = as_inputs(example_input)
    unused = set(ChannelGraph.trace(model, inputs, connections=connections).unused)
    trial = _WithoutPart(model, inputs)
    gone: list[str] = []
    for name in _parts_of(model, unused) if unused else ():
        inside = any(name.startswith(outer + ".") for outer in gone)
        if not inside and trial.passes(name):
            gone.append(name)
            drop(model, [name])
    return gone


def unused_weights(graph: ChannelGraph) -> int:
    """Parameters of the unused layers."""
    unused = set(graph.unused)
    return sum(
        math.prod(info.shape)
        for name, info in graph.tensors.items()
        if info.trainable and not unused.isdisjoint((layer_name(name), name.rpartition(".")[0]))
    )


def unused_text(graph: ChannelGraph) -> str:
    """One line that names the unused layers and their share of all weights; empty if there are none."""
    if not graph.unused:
        return ""
    total = sum(math.prod(info.shape) for info in graph.tensors.values() if info.trainable)
    names = ", ".join(graph.unused[:SHOWN])
    more = f" and {len(graph.unused) - SHOWN} more" if len(graph.unused) > SHOWN else ""
    share = 100 * unused_weights(graph) / total
    return f"nothing reads {names}{more}: {share:.1f} % of the weights; drop_unused=true takes them out"


class WithoutUnused:
    """A builder of models that drops what is unused in the first that it builds, and the same from all others.

    Args:
        build_model: builds the whole model.
        image: float32 [1, C, H, W] to trace it with.
        connections: as for `ChannelGraph.trace`.
    """

    def __init__(
        self, build_model: Callable[[], nn.Module], image: Tensor, connections: Connections | None = None
    ) -> None:
        self._connections = connections
        self._build_model = build_model
        self._image = image
        self._names: list[str] | None = None

    def __call__(self) -> nn.Module:
        model = self._build_model()
        if self._names is None:
            with random_kept():
                self._names = drop_unused(model, self._image, self._connections)
        else:
            drop(model, self._names)
        return model


def _parts_of(model: nn.Module, unused: set[str]) -> list[str]:
    """Modules all of whose layers are unused, outer ones before the inner."""
    layers = [layer_name(name) for name, parameter in model.named_parameters() if parameter.dim() > 1]

    def only_unused(part: str) -> bool:
        inside = [layer for layer in layers if layer == part or layer.startswith(part + ".")]
        return bool(inside) and unused.issuperset(inside)

    return [name for name, _ in model.named_modules() if name and only_unused(name)]


class _WithoutPart:
    """What a model must still give when a part of it is gone."""

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._model = model
        self._inputs = inputs
        # Batch normalization needs more than one value per channel in training.
        self._pairs = tuple(torch.cat([item, item]) if item.dim() else item for item in inputs)
        with in_mode(model, training=False):
            self._expected = list(tensors_in(model(*inputs)))
        self._trains = _runs(copy_of(model).train(), self._pairs) is not None

    def passes(self, name: str) -> bool:
        smaller = copy_of(self._model).eval()
        drop(smaller, [name])
        given = _runs(smaller, self._inputs)
        same = given is not None and len(given) == len(self._expected) and all(map(torch.equal, given, self._expected))
        return same and (not self._trains or _runs(smaller.train(), self._pairs) is not None)


def _runs(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor] | None:
    """What a model gives; None if it can't be run."""
    with random_kept():
        try:
            return list(tensors_in(model(*inputs)))
        except Exception:  # whatever its code says to a part that is missing
            return None
