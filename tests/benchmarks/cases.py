"""The models that both tables measure, by name, with the inputs that they are traced and run with. Measures nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from pruning_lab.models import UNet
from tests.graph.test_zoo import LIBRARIES, shaken
from tests.networks import constructs

SIDE = 224
"""Side of the images; the networks for larger ones say so."""

SIDES = {"inception_v3": 299}
SMALL = "small nets"

Inputs = tuple[Tensor, ...]


def deep(layers: int, width: int = 16) -> nn.Module:
    """Convolutions with batch norms in residual pairs, on images an eighth as large: a network that is all depth."""
    stem = [nn.Conv2d(3, width, 8, stride=8), nn.ReLU()]
    return nn.Sequential(*stem, *(_Residual(width) for _ in range(layers // 2)), nn.Conv2d(width, 4, 1))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norm, self.last_norm = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, image: Tensor) -> Tensor:
        return image + self.last_norm(self.second(torch.relu(self.norm(self.first(image)))))


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "unet, width 16": lambda: UNet(in_channels=3, classes=4, width=16),
    "unet, width 64": lambda: UNet(in_channels=3, classes=4, width=64),
    "2000 layers": lambda: deep(2000),
    **{f"{library}/{name}": partial(build, name) for library, (build, names) in LIBRARIES.items() for name in names},
}

ALL = [*BUILDERS, *(f"{SMALL}/{name}" for name in constructs.CASES)]

SPEED = [
    "unet, width 16",
    "unet, width 64",
    "torchvision/resnet18",
    "torchvision/resnet50",
    "torchvision/densenet121",
    "segmentation_models_pytorch/Unet",
    "segmentation_models_pytorch/MAnet",
    "2000 layers",
]


def make(name: str, side: int | None = None) -> tuple[nn.Module, Inputs]:
    """A model in evaluation mode with random weights, and its inputs; images have `side` where it is given."""
    library, _, rest = name.partition("/")
    if library == SMALL:
        return constructs.make(rest)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say while they build their models
        model = shaken(BUILDERS[name]())
    side = side or SIDES.get(name.rpartition("/")[2], SIDE)
    return model, (torch.randn(1, 3, side, side),)
