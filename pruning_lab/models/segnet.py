"""SegNet (Badrinarayanan, Kendall, Cipolla 2017): VGG16 and its mirror image, joined by the places of the maxima.

Knows torch, and torchvision for pretrained weights.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models import vgg16_bn

from pruning_lab.common.errors import LabError
from pruning_lab.models.backbones import replace_input
from pruning_lab.models.checking import at_least_one

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Convolutions of each stage of VGG16."""

VGG_WIDTH = 64


class Stage(nn.Sequential):
    """3x3 convolutions, each with batch norm and ReLU; `widths` are their channels, the input's first."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        for index, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            self.add_module(f"conv{index}", nn.Conv2d(inputs, outputs, 3, padding=1))
            self.add_module(f"norm{index}", nn.BatchNorm2d(outputs))
            self.add_module(f"relu{index}", nn.ReLU())


class SegNet(nn.Module):
    """Image [N, in_channels, H, W] -> logits [N, classes, H, W], for any H and W.

    Each pooling of the encoder remembers where its maxima were, and the decoder puts its features back to these
    places; so the filters that are pooled and those that are put back can only be removed together. On CUDA the
    putting back has no deterministic kernel.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        width: filters of the first stage; the later ones have 2, 4, 8 and 8 times as many.
        pretrained: start the encoder from VGG16's ImageNet weights, which are downloaded once; `width` must be 64.
    """

    def __init__(self, in_channels: int = 3, classes: int = 2, width: int = 64, pretrained: bool = False) -> None:
        super().__init__()
        at_least_one(in_channels=in_channels, classes=classes, width=width)
        if pretrained and width != VGG_WIDTH:
            raise LabError(f"model.pretrained=true: VGG16's weights are for model.width={VGG_WIDTH}, not {width}")
        self.in_channels = in_channels
        self.classes = classes
        self.width = width
        # A network that is built again from its attributes has its weights already: no download.
        self.pretrained = False
        widths = [width * factor for factor in (1, 2, 4, 8, 8)]
        above = 3 if pretrained else in_channels
        for level, (count, filters) in enumerate(zip(CONVOLUTIONS, widths, strict=True), start=1):
            self.add_module(f"down{level}", Stage([above, *[filters] * count]))
            above = filters
        for rise, (count, filters) in enumerate(zip(reversed(CONVOLUTIONS), reversed(widths), strict=True), start=1):
            above = widths[-rise - 1] if rise < len(widths) else filters
            self.add_module(f"up{rise}", Stage([*[filters] * count, above]))
        self.outc = nn.Conv2d(width, classes, 1)
        if pretrained:
            self._start_from_vgg(in_channels)

    def forward(self, image: Tensor) -> Tensor:
        features = image
        places = []
        for level in range(1, len(CONVOLUTIONS) + 1):
            features = self.get_submodule(f"down{level}")(features)
            # Rounding up keeps the last row and column of odd sizes.
            pooled, indices = F.max_pool2d(features, 2, ceil_mode=True, return_indices=True)
            places.append((indices, features.shape[-2:]))
            features = pooled
        for rise in range(1, len(CONVOLUTIONS) + 1):
            indices, size = places.pop()
            features = F.max_unpool2d(features, indices, [2, 2], output_size=size)
            features = self.get_submodule(f"up{rise}")(features)
        return self.outc(features)

    def _start_from_vgg(self, in_channels: int) -> None:

        copy_convolutions(vgg16_bn(weights="IMAGENET1K_V1").features, self)
        if in_channels != 3:
            replace_input(self, in_channels, keep_response=True)


def copy_convolutions(source: nn.Module, target: nn.Module) -> None:
    """Copy the states of a network's convolutions and batch norms to another's first ones, in their order."""
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    theirs = [part for part in source.modules() if isinstance(part, kinds)]
    ours = [part for part in target.modules() if isinstance(part, kinds)]
    for old, new in zip(theirs, ours, strict=False):
        new.load_state_dict(old.state_dict())
