"""RITnet (Chaudhary et al. 2019, "RITnet: Real-time Semantic Segmentation of the Eye for Gaze Tracking"), a small
U-shaped network of dense blocks. Knows torch only."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.common.errors import LabError
from pruning_lab.models.checking import at_least_one


class Squeezed(nn.Module):
    """A 1x1 convolution that brings a stack of features down to `width`, then a 3x3 one, then leaky ReLU.

    [N, in_channels, H, W] -> [N, width, H, W].
    """

    def __init__(self, in_channels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, width, 1)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.drop = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        return F.leaky_relu(self.drop(self.conv(self.squeeze(features))))


class DownBlock(nn.Module):
    """Five convolutions, each stage reading all before it, and batch norm: [N, C, H, W] -> [N, width, H, W]."""

    def __init__(self, in_channels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1)
        self.drop = nn.Dropout(dropout)
        self.stage2 = Squeezed(in_channels + width, width, dropout)
        self.stage3 = Squeezed(in_channels + 2 * width, width, dropout)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, features: Tensor) -> Tensor:
        stack = torch.cat([features, F.leaky_relu(self.drop(self.conv1(features)))], dim=1)
        stack = torch.cat([stack, self.stage2(stack)], dim=1)
        return self.norm(self.stage3(stack))


class UpBlock(nn.Module):
    """Four convolutions on the features from below, beside those of the same level on the way down.

    [N, width, h, w] and [N, width, H, W] -> [N, width, H, W].
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.stage1 = Squeezed(2 * width, width, dropout)
        self.stage2 = Squeezed(3 * width, width, dropout)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        raised = F.interpolate(features, size=skip.shape[-2:], mode="nearest")
        stack = torch.cat([raised, skip], dim=1)
        return self.stage2(torch.cat([stack, self.stage1(stack)], dim=1))


class RITnet(nn.Module):
    """Image [N, in_channels, H, W] -> logits [N, classes, H, W], for any H and W.

    Every layer has the same number of filters. With the published width of 32, depth of 4, one grey channel and four
    classes it has the published 248,900 weights.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        width: filters of every layer.
        depth: how many times the resolution is halved.
        dropout: probability with which each block's values are zeroed in training.
    """

    def __init__(
        self, in_channels: int = 1, classes: int = 4, width: int = 32, depth: int = 4, dropout: float = 0.2
    ) -> None:
        super().__init__()
        at_least_one(in_channels=in_channels, classes=classes, width=width, depth=depth)
        if not 0 <= dropout < 1:
            raise LabError(f"model.dropout={dropout} must be at least 0 and below 1")
        self.in_channels = in_channels
        self.classes = classes
        self.width = width
        self.depth = depth
        self.dropout = dropout
        self.inc = DownBlock(in_channels, width, dropout)
        for level in range(1, depth + 1):
            self.add_module(f"down{level}", DownBlock(width, width, dropout))
        for rise in range(1, depth + 1):
            self.add_module(f"up{rise}", UpBlock(width, dropout))
        self.outc = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.inc(image)
        skips = []
        for level in range(1, self.depth + 1):
            skips.append(features)
            # Rounding up keeps the last row and column of odd sizes.
            features = self.get_submodule(f"down{level}")(F.avg_pool2d(features, 2, ceil_mode=True))
        for rise in range(1, self.depth + 1):
            features = self.get_submodule(f"up{rise}")(features, skips.pop())
        return self.outc(features)
