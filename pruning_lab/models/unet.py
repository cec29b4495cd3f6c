"""U-Net (Ronneberger, Fischer, Brox 2015), with batch norm and padded convolutions. Knows torch only."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.models.checking import at_least_one, one_of

UPSAMPLINGS = ("bilinear", "transposed")


class DoubleConv(nn.Module):
    """Twice: 3x3 convolution, batch norm, ReLU. [N, in_channels, H, W] -> [N, out_channels, H, W]."""

    def __init__(self, in_channels: int, middle_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, middle_channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(middle_channels)
        self.conv2 = nn.Conv2d(middle_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        features = F.relu(self.norm1(self.conv1(features)))
        return F.relu(self.norm2(self.conv2(features)))


class UNet(nn.Module):
    """Image [N, in_channels, H, W] -> logits [N, classes, H, W], for any H and W.

    Level i of the encoder (`inc`, `down1`, `down2`, ...) has width * growth^i filters at 1/2^i of the
    resolution; the decoder (`up1`, `up2`, ...) climbs back, each block reading the encoder's features of its
    level beside those from below. With bilinear up-sampling nothing reduces the channels on the way up, so
    that the deepest level has no more filters than the one above it, and each decoder block ends with as many
    as the next skip connection brings.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        width: filters of the first level.
        depth: how many times the resolution is halved.
        upsampling: `bilinear`, or `transposed` for learned 2x2 transposed convolutions.
        growth: filters of a level over those of the level above it; 1 makes a flat network.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 2,
        width: int = 64,
        depth: int = 4,
        upsampling: str = "bilinear",
        growth: int = 2,
    ) -> None:
        super().__init__()
        _check(in_channels, classes, width, depth, upsampling, growth)
        self.in_channels = in_channels
        self.classes = classes
        self.width = width
        self.depth = depth
        self.upsampling = upsampling
        self.growth = growth
        bilinear = upsampling == "bilinear"
        widths = [width * growth**level for level in range(depth + 1)]
        if bilinear:
            widths[-1] = widths[-2]
        self.inc = DoubleConv(in_channels, width, width)
        for level in range(1, depth + 1):
            self.add_module(f"down{level}", DoubleConv(widths[level - 1], widths[level], widths[level]))
        for rise, level in enumerate(reversed(range(depth)), start=1):
            skip = widths[level]
            out = widths[level - 1] if bilinear and level > 0 else skip
            if not bilinear:
                self.add_module(f"upsample{rise}", nn.ConvTranspose2d(widths[level + 1], skip, 2, stride=2))
            self.add_module(f"up{rise}", DoubleConv(2 * skip, skip, out))
        self.outc = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.inc(image)
        skips = []
        for level in range(1, self.depth + 1):
            skips.append(features)
            # Rounding up keeps the last row and column of odd sizes, and a single pixel.
            features = self.get_submodule(f"down{level}")(F.max_pool2d(features, 2, ceil_mode=True))
        for rise in range(1, self.depth + 1):
            skip = skips.pop()
            features = torch.cat([skip, self._upsample(features, skip, rise)], dim=1)
            features = self.get_submodule(f"up{rise}")(features)
        return self.outc(features)

    def _upsample(self, features: Tensor, skip: Tensor, rise: int) -> Tensor:
        """The features at the height and width of the skip connection."""
        height, width = skip.shape[-2:]
        if self.upsampling == "bilinear":
            return F.interpolate(features, size=(height, width), mode="bilinear", align_corners=False)
        return self.get_submodule(f"upsample{rise}")(features)[..., :height, :width]


def _check(in_channels: int, classes: int, width: int, depth: int, upsampling: str, growth: int) -> None:
    at_least_one(in_channels=in_channels, classes=classes, width=width, depth=depth, growth=growth)
    one_of("upsampling", upsampling, UPSAMPLINGS)
