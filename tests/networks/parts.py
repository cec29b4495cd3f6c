"""What small networks are made of: a module of any forward, a convolution, a chain, a scale."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Apply(nn.Module):
    """Modules by name, and what forward does with them."""

    def __init__(self, forward: Callable[..., object], **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.function = forward

    def forward(self, *inputs: Tensor) -> object:
        return self.function(self, *inputs)


def slope(image: Tensor) -> Tensor:
    """The gradient of a sum of squares: a forward that differentiates can't be recorded, since that needs gradients."""
    with torch.enable_grad():
        variable = image.detach().clone().requires_grad_()
        return torch.autograd.grad(variable.square().sum(), variable)[0]


class Scale(nn.Module):
    """A plain parameter that scales channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.rand(1, channels, 1, 1) + 0.5)

    def forward(self, image: Tensor) -> Tensor:
        return image * self.factor


def conv(inputs: int, outputs: int, kernel: int = 3, **options: object) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def sequence(*modules: nn.Module) -> nn.Module:
    """First layer, the modules under test, last layer."""
    return nn.Sequential(*modules)
