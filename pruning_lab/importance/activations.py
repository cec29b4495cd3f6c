"""One pass over batches with hooks on the layers' outputs, before normalisation and activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.export import modes_kept
from pruning_lab.importance.scoring import Batches

Observe = Callable[[str, Tensor], None]


@torch.no_grad()
def observe_outputs(model: nn.Module, graph: ChannelGraph, batches: Batches, observe: Observe) -> int:
    """Run the model in evaluation mode and show `observe` every layer's output, as [N, filters, positions].

    Returns:
        the number of images seen.
    """
    modules = dict(model.named_modules())
    handles = [
        modules[layer].register_forward_hook(_hook(layer, observe)) for layer in graph.layers if layer in modules
    ]
    images = 0
    device = next(model.parameters()).device
    try:
        with modes_kept(model):
            model.eval()
            for image, _ in batches:
                model(image.to(device))
                images += len(image)
    finally:
        for handle in handles:
            handle.remove()
    return images


def _hook(layer: str, observe: Observe) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(module, nn.Linear):
            output = output.movedim(-1, 1) if output.dim() > 2 else output.unsqueeze(-1)
        observe(layer, output.flatten(2))

    return hook
