"""A model of one's own. It knows nothing of pruning, and keeps no list of its layers."""

from torch import Tensor, nn


class Plain(nn.Module):
    """Image [N, in_channels, H, W] -> logits [N, classes, H, W]."""

    def __init__(self, classes: int, width: int = 16, in_channels: int = 3) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.enter(image)
        return self.head(first + self.inner(first))
