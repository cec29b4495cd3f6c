"""Recovery that learns from the base as well as from the masks. Must not know config, tracking, or how a run goes on.

A distillation is asked once per recovery for its comparisons; each holds an answer of the pruned model against the
base's and is added to the task's loss. Layers differ in width: attention maps have no channels left, features are
compared on the filters that both have, by their original indices, so that nothing has to be learned in between.
"""

from __future__ import annotations

import copy
import difflib
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import channels_second, device_of, submodule
from pruning_lab.graph import ChannelGraph
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.loop import Objective, TaskLoss
from pruning_lab.training.losses import Loss

Outputs = Mapping[str, Sequence[Tensor]]
"""Module -> its output in each of its calls, float32 [N, channels, *sides]."""


@dataclass(frozen=True)
class Answer:
    """What a model says to a batch: logits [N, classes, H, W], and the outputs of the modules that are watched."""

    logits: Tensor
    outputs: Outputs = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """One comparison: the modules to watch, and (pruned model's answer, base's answer) -> scalar, already weighted."""

    modules: tuple[str, ...]
    compare: Callable[[Answer, Answer], Tensor]


class Distillation(Protocol):
    """Anything that says what of the base is to be learned."""

    def comparisons(self, model: nn.Module, graph: ChannelGraph) -> list[Comparison]:
        """The comparisons for a model as it is now; `graph.original` knows which filters are left."""


def none() -> None:
    """The masks alone teach."""


class SoftTargets:
    """The base's class probabilities, softened (Hinton, Vinyals, Dean 2015).

    weight * T^2 * KL(softmax(base / T) || softmax(pruned / T)), the mean over all pixels, unlabelled ones included.

    Args:
        temperature: T; higher shows more of how the base ranks the wrong classes.
        weight: beside the task's loss, which counts once.
    """

    def __init__(self, temperature: float = 4.0, weight: float = 1.0) -> None:
        if temperature <= 0:
            raise LabError(f"distillation.temperature={temperature} must be above 0")
        self.temperature, self.weight = float(temperature), _checked_weight(weight)

    def comparisons(self, model: nn.Module, graph: ChannelGraph) -> list[Comparison]:
        return [Comparison((), self._compare)]

    def _compare(self, pruned: Answer, base: Answer) -> Tensor:
        ours, theirs = ((answer.logits / self.temperature).log_softmax(1) for answer in (pruned, base))
        divergence = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1).mean()
        return self.weight * self.temperature**2 * divergence


class Attention:
    """Where layers respond strongly (Zagoruyko and Komodakis 2017, activation-based, with p = 2).

    A map is the mean over channels of the squared output, divided by its L2 norm over the positions of its image.
    weight * the squared L2 distance of the two maps, the mean over images and layers; the distance lies in [0, 2].
    Their equation 2 has the distance itself, whose gradient is not defined where the maps agree.

    Args:
        layers: names or patterns (`up*`) of layers; by its exact name any module that gives out one tensor, for
            instance a block that ends with an activation.
        weight: beside the task's loss, which counts once.
    """

    def __init__(self, layers: Sequence[str] = ("*",), weight: float = 1.0) -> None:
        self.layers, self.weight = tuple(layers), _checked_weight(weight)

    def comparisons(self, model: nn.Module, graph: ChannelGraph) -> list[Comparison]:
        names = _named(self.layers, model, graph)
        return [Comparison(names, partial(self._compare, names))]

    def _compare(self, names: Sequence[str], pruned: Answer, base: Answer) -> Tensor:
        pairs = _pairs(names, pruned, base)
        distances = [(_map(ours) - _map(theirs)).square().sum(1).mean() for _, ours, theirs in pairs]
        return self.weight * torch.stack(distances).mean()


class Features:
    """What the filters that are left give out, compared with the same filters of the base.

    weight * sum((pruned - base)^2) / sum(base^2) over the filters that both have, the mean over layers. 1 is as far
    off as giving out nothing.

    Args:
        layers: names or patterns (`up*`) of layers.
        weight: beside the task's loss, which counts once.
    """

    def __init__(self, layers: Sequence[str] = ("*",), weight: float = 1.0) -> None:
        self.layers, self.weight = tuple(layers), _checked_weight(weight)

    def comparisons(self, model: nn.Module, graph: ChannelGraph) -> list[Comparison]:
        names = _named(self.layers, model, graph)
        filterless = [name for name in names if name not in graph.layers]
        if filterless:
            raise LabError(f"distillation.layers: {filterless[0]} has no filters to compare; name a layer inside it")
        # On the device from the start: on the way there each batch would wait for it.
        kept = {name: graph.original[name].to(device_of(model)) for name in names}
        return [Comparison(names, partial(self._compare, kept))]

    def _compare(self, kept: Mapping[str, Tensor], pruned: Answer, base: Answer) -> Tensor:
        distances = []
        for name, ours, theirs in _pairs(list(kept), pruned, base):
            same = theirs.index_select(1, kept[name].to(theirs.device))
            size = same.square().sum().clamp_min(torch.finfo(same.dtype).tiny)
            distances.append((ours - same).square().sum() / size)
        return self.weight * torch.stack(distances).mean()


class Several:
    """Several distillations at once, all added up.

    Args:
        parts: any name -> distillation.
    """

    def __init__(self, parts: Mapping[str, Distillation]) -> None:
        self.parts = dict(parts)

    def comparisons(self, model: nn.Module, graph: ChannelGraph) -> list[Comparison]:
        return [comparison for part in self.parts.values() for comparison in part.comparisons(model, graph)]


def objective_of(
    distillation: Distillation | None,
    loss: Loss,
    base: nn.Module,
    model: nn.Module,
    graph: ChannelGraph,
    settings: ComputeSettings,
) -> Objective:
    """What one recovery makes small: the task's loss, and what is to be learned from the base.

    Args:
        base: the unpruned model; a copy of it answers, in evaluation mode, on the device of the settings.
        model, graph: the pruned model as it is now.

    Raises:
        LabError: a layer to compare is not there.
    """
    if distillation is None:
        return TaskLoss(loss, settings)
    teacher = settings.place(copy.deepcopy(base)).eval()
    return _Distilled(loss, distillation.comparisons(model, graph), teacher, settings)


@dataclass(frozen=True)
class _Distilled:
    loss: Loss
    comparisons: list[Comparison]
    teacher: nn.Module
    settings: ComputeSettings

    def __call__(self, model: nn.Module, image: Tensor, mask: Tensor) -> Tensor:
        pruned = self._answer(model, image)
        with torch.no_grad():
            base = self._answer(self.teacher, image)
        total = self.loss(pruned.logits, mask)
        for comparison in self.comparisons:
            total = total + comparison.compare(pruned, base)
        return total

    def _answer(self, model: nn.Module, image: Tensor) -> Answer:
        names = dict.fromkeys(name for comparison in self.comparisons for name in comparison.modules)
        with _watching(model, names) as outputs:
            return Answer(self.settings.logits(model, image), outputs)


@contextmanager
def _watching(model: nn.Module, names: Mapping[str, Any]) -> Iterator[Outputs]:
    """What these modules give out while inside, in float32 whatever the forward pass runs in."""
    outputs: dict[str, list[Tensor]] = {name: [] for name in names}

    def attach(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                kind = type(output).__name__
                raise LabError(f"distillation.layers: {name} gives out a {kind}; name a layer that gives one tensor")
            outputs[name].append(channels_second(module, output).float())

        return model.get_submodule(name).register_forward_hook(hook)

    handles = [attach(name) for name in outputs]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _pairs(names: Sequence[str], pruned: Answer, base: Answer) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Both models' outputs, call by call.

    Raises:
        LabError: nothing ran any of the layers.
    """
    pairs = [
        (name, ours, theirs)
        for name in names
        for ours, theirs in zip(pruned.outputs[name], base.outputs[name], strict=True)
    ]
    if not pairs:
        raise LabError(f"distillation.layers: the model runs none of {', '.join(names)}; name others")
    yield from pairs


def _map(output: Tensor) -> Tensor:
    """The attention map of an output [N, channels, *sides], float [N, positions], of length 1 in each image."""
    return F.normalize(output.square().mean(1).flatten(1), dim=1)


def _named(patterns: Sequence[str], model: nn.Module, graph: ChannelGraph) -> tuple[str, ...]:
    """Modules by name: exact names of any, and patterns over the layers of the graph."""
    layers = [layer for layer in graph.layers if submodule(model, layer) is not None]
    modules = {name for name, _ in model.named_modules()}
    found: dict[str, None] = {}
    for pattern in patterns:
        fitting = [pattern] if pattern in modules else fnmatch.filter(layers, pattern)
        if not fitting:
            near = difflib.get_close_matches(pattern, layers, n=1)
            hint = f"did you mean {near[0]}?" if near else f"layers are called like {layers[0]}"
            raise LabError(f"distillation.layers: {pattern} fits no layer of the model; {hint}")
        found |= dict.fromkeys(fitting)
    if not found:
        raise LabError("distillation.layers is empty; name at least one layer, or '*' for all")
    return tuple(found)


def _checked_weight(weight: float) -> float:
    if weight < 0:
        raise LabError(f"distillation.weight={weight} must not be negative")
    return float(weight)
