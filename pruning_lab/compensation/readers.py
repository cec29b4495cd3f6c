"""The readers of a network that was cut: whose weights may be solved anew, and what can take a shift of their output.

Knows the graph and modules; not how a solution is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.modules import submodule
from pruning_lab.compensation.contract import Before
from pruning_lab.compensation.in_step import Survey, survey
from pruning_lab.compensation.patches import is_reader, rows_as_weight
from pruning_lab.graph import ChannelGraph


@dataclass(frozen=True)
class Reader:
    """A layer that reads channels, by what of it can be changed.

    Attributes:
        layer: its name in the graph.
        names: the modules that share its weight; mostly itself alone.
        kept: int64 [filters], where its filters stood before the cut.
        calls: how often they run in one forward pass, all together.
        weight: the parameter to change; None where the weight is computed from others.
        bias: the parameter that a shift of the output is added to; None without one.
        norm: the batch norm whose running mean takes the shift instead; None without one.
        macs: multiply-adds for one image, of this network and of the one before the cut.
    """

    layer: str
    names: tuple[str, ...]
    kept: Tensor
    calls: int
    weight: nn.Parameter | None
    bias: nn.Parameter | None
    norm: nn.Module | None
    macs: tuple[int, int] = (0, 0)

    @property
    def shifts(self) -> bool:
        """Whether anything can take a constant that is added to the output."""
        return self.bias is not None or self.norm is not None

    def tensors(self) -> Iterator[Tensor]:
        """All that `change` may change."""
        mean = None if self.norm is None else self.norm.running_mean
        yield from (tensor for tensor in (self.weight, self.bias, mean) if isinstance(tensor, Tensor))

    @torch.no_grad()
    def change(self, module: nn.Module, weights: Tensor | None, shift: Tensor | None) -> None:
        """Add to the weights [groups, filters per group, weights] and to the output [groups, filters per group]."""
        if weights is not None and self.weight is not None:
            self.weight.add_(rows_as_weight(module, weights).to(self.weight))
        if shift is None:
            return
        if self.bias is not None:
            self.bias.add_(shift.flatten().to(self.bias))
        elif self.norm is not None:
            mean = self.norm.running_mean
            assert isinstance(mean, Tensor)
            mean.sub_(shift.flatten().to(mean))


def readers_of(
    before: Before, model: nn.Module, graph: ChannelGraph, image: Tensor
) -> tuple[list[Reader], dict[str, str]]:
    """Every layer that runs as a module of its own, and the others that read a group -> why they are left alone."""
    seen = survey(model, [name for name, module in model.named_modules() if is_reader(module)], image)
    sharing = _by_weight(model)
    readers, left = [], {}
    for layer in dict.fromkeys([*graph.layers, *_consumers(graph)]):
        module = submodule(model, layer)
        if not is_reader(module):
            if layer in _consumers(graph):
                left[layer] = "no convolution or linear layer of its own"
            continue
        assert module is not None
        names = tuple(name for name in sharing.get(id(module._parameters.get("weight")), [layer]) if name in seen.calls)
        if names:
            readers.append(_reader(before, model, graph, layer, names, seen))
    return readers, left


def _reader(
    before: Before, model: nn.Module, graph: ChannelGraph, layer: str, names: tuple[str, ...], seen: Survey
) -> Reader:
    module = model.get_submodule(layer)
    weight = module._parameters.get("weight")
    biases = {id(model.get_submodule(name)._parameters.get("bias")) for name in names}
    bias = module._parameters.get("bias") if len(biases) == 1 else None
    alone = len(names) == 1 and module._parameters.get("bias") is None
    norm = _norm_behind(model, graph, layer, seen) if alone else None
    kept = before.kept(layer, graph) if layer in graph.layers else torch.arange(_width(module))
    places = sum(seen.places[name] for name in names)
    macs = (places * _weights(module), places * _weights(before.model.get_submodule(layer)))
    return Reader(layer, names, kept, sum(seen.calls[name] for name in names), weight, bias, norm, macs)


def _norm_behind(model: nn.Module, graph: ChannelGraph, layer: str, seen: Survey) -> nn.Module | None:
    """The batch norm with running statistics through which all that the layer gives out goes first."""
    name = seen.followed_by.get(layer)
    if name is None or any(flow.norms[:1] != (name,) for flow in graph.flows if flow.source == layer):
        return None
    norm = model.get_submodule(name)
    return norm if isinstance(norm.running_mean, Tensor) else None


def _by_weight(model: nn.Module) -> Mapping[int, list[str]]:
    found: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=True):
        weight = module._parameters.get("weight")
        if is_reader(module) and weight is not None:
            found.setdefault(id(weight), []).append(name)
    return found


def _consumers(graph: ChannelGraph) -> Iterator[str]:
    yield from (read.layer for read in graph.consumers if read.layer and bool((read.channels >= 0).any()))


def _weights(module: nn.Module) -> int:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.numel()


def _width(module: nn.Module) -> int:
    return int(module.out_features if isinstance(module, nn.Linear) else module.out_channels)  # type: ignore[arg-type]
