"""The derivative of the loss by gates on groups, image by image, in one forward and one backward pass per batch.

A gate multiplies a group's channels wherever a layer reads them, so closing it is what `surgery.mask` does; its
derivative at 1 is the sum over consumers and positions of activation x gradient. Gates are never built: hooks take
the products while autograd walks back. Weights' gradients are not computed, and no `.grad` is touched.

Knows modules and the graph; not what a method makes of the derivatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pruning_lab.common.modules import channels_second, device_of, in_mode, modules_of
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, places_of, raise_no_images, readers
from pruning_lab.importance.objective import Loss, main_output


@dataclass(frozen=True)
class Site:
    """Where activation x gradient is taken: what a module reads, or what it gives out.

    Attributes:
        layer: a module; all that share its weight count as one.
        ids: int64 [channels], the group of each channel, or -1.
        output: what it gives out.
    """

    layer: str
    ids: Tensor
    output: bool = False


def gate_gradients(model: nn.Module, graph: ChannelGraph, batches: Batches, loss: Loss) -> Iterator[Tensor]:
    """For every batch, float [N, n_groups]: what each image's loss gains per unit of each group's gate.

    The model runs in evaluation mode, so that images do not touch each other. A bare parameter's reads (the packed
    projections of attention) have no module to hook and are not seen.

    Raises:
        LabError: there was no image.
    """
    contracted = torch.cat([graph.contracted, torch.zeros(1, dtype=torch.bool)])
    sites = [Site(name, torch.where(contracted[ids], -1, ids)) for name, ids in readers(graph).items()]
    # Two activations that are multiplied and summed over a channel are silenced at their source, as `mask` does.
    sites += [
        Site(name, torch.where(contracted[ids], ids, -1), output=True)
        for name, ids in graph.layers.items()
        if bool(contracted[ids].any())
    ]
    for images, found in products(model, sites, batches, loss):
        total = torch.zeros(images, len(graph) + 1, device=device_of(model))
        for site, product in found.items():
            total += by_group(site, product, len(graph))
        yield total[:, :-1]


def products(
    model: nn.Module, sites: Sequence[Site], batches: Batches, loss: Loss, squares: bool = False
) -> Iterator[tuple[int, Mapping[Site, Tensor]]]:
    """For every batch, its images N, and of each site the sum over places of activation x gradient of each image's own
    loss, float [N, channels]; sites that the loss does not depend on are left out.

    Args:
        squares: take the square of the gradient in place of activation x gradient.

    Raises:
        LabError: there was no image.
    """
    taken = _Products(model, sites, squares)
    images = 0
    for image, mask in batches:
        yield len(image), taken.of_batch(image, mask, loss)
        images += len(image)
    if not images:
        raise_no_images()


def output_gradients(model: nn.Module, layers: Iterable[str], batches: Batches, loss: Loss) -> dict[str, Tensor]:
    """Layer -> float [filters] on the CPU: mean over images of the sum over places of squared gradients of each image's
    own loss by the layer's output; a layer that the loss does not depend on is left out.

    Raises:
        LabError: there was no image.
    """
    nothing = torch.empty(0, dtype=torch.int64)
    sites = [Site(layer, nothing, output=True) for layer in layers]
    total: dict[str, Tensor] = {}
    count = 0
    for images, found in products(model, sites, batches, loss, squares=True):
        for site, squares in found.items():
            total[site.layer] = total.get(site.layer, torch.zeros(1)) + squares.sum(0).cpu()
        count += images
    return {layer: squares / count for layer, squares in total.items()}


def by_group(site: Site, product: Tensor, groups: int) -> Tensor:
    """Products of a site's channels, float [N, channels], over groups: [N, n_groups + 1], the last for no group."""
    places = places_of(site.ids, groups).to(product.device)
    return product.new_zeros(len(product), groups + 1).index_add_(1, places, product)


class _Products:
    def __init__(self, model: nn.Module, sites: Sequence[Site], squares: bool) -> None:
        self.model, self.sites, self.squares = model, sites, squares
        self.device = device_of(model)
        self.images = 0
        self.found: dict[int, Tensor] = {}

    def of_batch(self, image: Tensor, mask: Tensor, loss: Loss) -> dict[Site, Tensor]:
        self.images, self.found = len(image), {}
        with in_mode(self.model, training=False), weights_held(self.model), self._hooked(), torch.enable_grad():
            value = loss(main_output(self.model(image.to(self.device))), mask.to(self.device))
            if value.requires_grad:
                value.backward()
        each = len(image) ** (1 + self.squares)  # the loss is a mean over the images
        return {self.sites[number]: product * each for number, product in self.found.items()}

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        handles: list[RemovableHandle] = []
        for number, site in enumerate(self.sites):
            for module in modules_of(self.model, site.layer):
                if site.output:
                    handles.append(module.register_forward_hook(self._on_output(number)))
                else:
                    handles.append(module.register_forward_pre_hook(self._on_input(number)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _on_input(self, number: int) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            return (self._gated(module, inputs[0], number), *inputs[1:])

        return hook

    def _on_output(self, number: int) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            return self._gated(module, output, number).clone()  # what follows may write into it

        return hook

    def _gated(self, module: nn.Module, activation: Tensor, number: int) -> Tensor:
        """The activation, seen by this module alone: its gradient is what flows back through this read."""
        own = activation.view_as(activation) if activation.requires_grad else activation.detach().requires_grad_()
        held = own.detach()

        def take(gradient: Tensor) -> None:
            product = channels_second(module, gradient.square() if self.squares else held * gradient)
            per_image = product.reshape(self.images, -1, *product.shape[1:]).movedim(2, 1).flatten(2).sum(2).float()
            before = self.found.get(number)
            self.found[number] = per_image if before is None else before + per_image

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
