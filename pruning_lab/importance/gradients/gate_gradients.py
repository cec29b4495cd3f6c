"""The derivative of the loss by gates on groups, image by image, in one forward and one backward pass per batch.

A gate multiplies a group's channels wherever a layer reads them, so closing it is what `surgery.mask` does; its
derivative at 1 is the sum over consumers and positions of activation x gradient. Gates are never built: hooks take
the products while autograd walks back. Weights' gradients are not computed, and no `.grad` is touched.

Knows modules and the graph; not what a method makes of the derivatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pruning_lab.common.modules import channels_second, device_of, in_mode, modules_of
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, places_of, raise_no_images, readers
from pruning_lab.importance.objective import Loss, main_output


def gate_gradients(model: nn.Module, graph: ChannelGraph, batches: Batches, loss: Loss) -> Iterator[Tensor]:
    """For every batch, float [N, n_groups]: what each image's loss gains per unit of each group's gate.

    The model runs in evaluation mode, so that images do not touch each other. A bare parameter's reads (the packed
    projections of attention) have no module to hook and are not seen.

    Raises:
        LabError: there was no image.
    """
    gates = _Gates(model, graph)
    images = 0
    for image, mask in batches:
        yield gates.of_batch(image, mask, loss)
        images += len(image)
    if not images:
        raise_no_images()


class _Gates:
    def __init__(self, model: nn.Module, graph: ChannelGraph) -> None:
        self.model = model
        self.graph = graph
        self.device = device_of(model)
        self.found = torch.empty(0)
        contracted = torch.cat([graph.contracted, torch.zeros(1, dtype=torch.bool)])
        self.reads = {
            name: torch.where(contracted[ids], -1, ids).to(self.device) for name, ids in readers(graph).items()
        }
        # Two activations that are multiplied and summed over a channel are silenced at their source, as `mask` does.
        self.sources = {
            name: torch.where(contracted[ids], ids, -1).to(self.device)
            for name, ids in graph.layers.items()
            if bool(contracted[ids].any())
        }

    def of_batch(self, image: Tensor, mask: Tensor, loss: Loss) -> Tensor:
        self.found = torch.zeros(len(image), len(self.graph) + 1, device=self.device)
        with in_mode(self.model, training=False), weights_held(self.model), self._hooked(), torch.enable_grad():
            value = loss(main_output(self.model(image.to(self.device))), mask.to(self.device))
            if value.requires_grad:
                value.backward()
        return self.found[:, :-1] * len(image)

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        handles: list[RemovableHandle] = []
        for name, ids in self.reads.items():
            for module in modules_of(self.model, name):
                handles.append(module.register_forward_pre_hook(self._on_input(ids)))
        for name, ids in self.sources.items():
            for module in modules_of(self.model, name):
                handles.append(module.register_forward_hook(self._on_output(ids)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _on_input(self, ids: Tensor) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            return (self._gated(module, inputs[0], ids), *inputs[1:])

        return hook

    def _on_output(self, ids: Tensor) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            return self._gated(module, output, ids)

        return hook

    def _gated(self, module: nn.Module, activation: Tensor, ids: Tensor) -> Tensor:
        """The activation, seen by this reader alone: its gradient is what flows back through this read."""
        own = activation.view_as(activation) if activation.requires_grad else activation.detach().requires_grad_()
        held = own.detach()

        def take(gradient: Tensor) -> None:
            product = channels_second(module, held * gradient)
            images = len(self.found)
            per_image = product.reshape(images, -1, *product.shape[1:]).movedim(2, 1).flatten(2).sum(2)
            self.found.index_add_(1, places_of(ids, len(self.graph)), per_image.float())

        own.register_hook(take)
        return own


@contextmanager
def weights_held(model: nn.Module) -> Iterator[None]:
    """No parameter asks for a gradient inside; all ask again as they did at the end."""
    asked = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in asked:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)
