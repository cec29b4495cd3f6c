"""One pass over batches with hooks: what layers give out (before normalisation) and what they read (after it).

Knows modules and the graph's names; not what is made of the activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pruning_lab.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.export import modes_kept
from pruning_lab.importance.scoring import Batches, modules_of

Observe = Callable[[str, Tensor], None]
"""(layer, activation [N, channels, *sides])."""


def observe_outputs(model: nn.Module, graph: ChannelGraph, batches: Batches, observe: Observe) -> None:
    """Run the model in evaluation mode and show `observe` every layer's output, [N, filters, *sides].

    Raises:
        LabError: there was no image.
    """

    def attach(name: str, module: nn.Module) -> RemovableHandle:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            observe(name, channels_second(module, output))

        return module.register_forward_hook(hook)

    _run(model, batches, [attach(name, module) for name in graph.layers for module in modules_of(model, name)])


def observe_reads(model: nn.Module, graph: ChannelGraph, batches: Batches, observe: Observe) -> None:
    """Run the model in evaluation mode and show `observe` what every layer reads, [N, in_channels, *sides].

    This is where a channel has passed its normalisation and activation, whatever they are. A layer that reads
    no group's channels is not shown.

    Raises:
        LabError: there was no image.
    """

    def attach(name: str, module: nn.Module) -> RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            observe(name, channels_second(module, inputs[0]))

        return module.register_forward_pre_hook(hook)

    _run(model, batches, [attach(name, module) for name in readers(graph) for module in modules_of(model, name)])


def readers(graph: ChannelGraph) -> Mapping[str, Tensor]:
    """Layer -> int64 [in_channels], the group of each channel it reads; layers that read no group are left out."""
    return {read.layer: read.channels for read in graph.consumers if read.layer and bool((read.channels >= 0).any())}


def channels_second(module: nn.Module, activation: Tensor) -> Tensor:
    """[N, channels, *sides] of a layer's input or output; linear layers have their channels last."""
    return activation.movedim(-1, 1) if isinstance(module, nn.Linear) else activation


@torch.no_grad()
def _run(model: nn.Module, batches: Batches, handles: list[RemovableHandle]) -> None:
    images = 0
    try:
        with modes_kept(model):
            model.eval()
            device = device_of(model)
            for image, _ in batches:
                model(image.to(device))
                images += len(image)
    finally:
        for handle in handles:
            handle.remove()
    if not images:
        raise_no_images()


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter lies; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def raise_no_images() -> NoReturn:
    """Raises: LabError, always."""
    raise LabError("importance got no images to look at; raise loader.score_images or choose a method of weights alone")
