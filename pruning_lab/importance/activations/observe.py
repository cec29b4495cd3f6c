"""One pass over batches with hooks: what layers give out (before normalization) and what they read (after it).

Knows modules and the graph's names; not what is made of the activations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pruning_lab.common.modules import channels_second, device_of, in_mode, modules_of
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, raise_no_images, readers

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

    This is where a channel has passed its normalization and activation, whatever they are. A layer that reads
    no group's channels is not shown.

    Raises:
        LabError: there was no image.
    """
    observe_inputs(model, readers(graph), batches, observe)


def observe_inputs(model: nn.Module, layers: Iterable[str], batches: Batches, observe: Observe) -> None:
    """The same of any layers, by their names."""

    def attach(name: str, module: nn.Module) -> RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            observe(name, channels_second(module, inputs[0]))

        return module.register_forward_pre_hook(hook)

    _run(model, batches, [attach(name, module) for name in layers for module in modules_of(model, name)])


@torch.no_grad()
def _run(model: nn.Module, batches: Batches, handles: list[RemovableHandle]) -> None:
    images = 0
    try:
        with in_mode(model, training=False):
            device = device_of(model)
            for image, _ in batches:
                model(image.to(device))
                images += len(image)
    finally:
        for handle in handles:
            handle.remove()
    if not images:
        raise_no_images()
