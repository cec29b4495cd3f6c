"""Small networks with every structure that importance has to cope with, and data for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

CLASSES = 3


class Chain(nn.Module):
    """conv1, norm1, relu, conv2, norm2, relu, head."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width + 2, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width + 2)
        self.head = nn.Conv2d(width + 2, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = F.relu(self.norm1(self.conv1(image)))
        return self.head(F.relu(self.norm2(self.conv2(features))))


class TinyUNet(nn.Module):
    """One level down and up; the decoder reads the skip connection first, and a transposed convolution's output."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.down_norm = nn.BatchNorm2d(2 * width)
        self.rise = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.join = nn.Conv2d(2 * width, width, 3, padding=1)
        self.head = nn.Conv2d(width, CLASSES, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        skip = F.relu(self.enter(image))
        deep = F.relu(self.down_norm(self.down(F.max_pool2d(skip, 2))))
        joined = torch.cat([skip, F.relu(self.rise(deep))], dim=1)
        return {"out": self.head(F.relu(self.join(joined)))}


class Residual(nn.Module):
    """A residual stage (stem and project are tied), a depthwise layer within it, and a grouped convolution after it."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.expand = nn.Conv2d(width, 2 * width, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(2 * width)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(2 * width)
        self.project = nn.Conv2d(2 * width, width, 1)
        self.grouped = nn.Conv2d(width, 2 * width, 3, padding=1, groups=2)
        self.head = nn.Conv2d(2 * width, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        stem = F.relu(self.stem(image))
        features = F.relu(self.expand_norm(self.expand(stem)))
        features = F.relu(self.depthwise_norm(self.depthwise(features)))
        stage = stem + self.project(features)
        return self.head(F.relu(self.grouped(stage)))


class Flattened(nn.Module):
    """A convolution whose positions a linear layer reads, four numbers per channel. Answers with a tuple."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.hidden = nn.Linear(4 * width, 6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        pooled = F.adaptive_avg_pool2d(F.relu(self.conv(image)), 2)
        logits = self.head(F.relu(self.hidden(pooled.flatten(1))))
        return (logits[:, :, None, None].expand(-1, -1, *image.shape[2:]),)


NETS = {"chain": Chain, "unet": TinyUNet, "residual": Residual, "flattened": Flattened}


def build(name: str, seed: int = 0, **sizes: int) -> nn.Module:
    """A network with spread-out weights and running statistics, in training mode as a lab would hold it."""
    torch.manual_seed(seed)
    model = NETS[name](**sizes)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2.0)
    return model


def batches(images: int = 6, size: int = 8, seed: int = 1) -> list[tuple[Tensor, Tensor]]:
    """Images with masks, two to a batch."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(images, 3, size, size, generator=generator)
    mask = torch.randint(0, CLASSES, (images, size, size), generator=generator)
    return list(zip(image.split(2), mask.split(2), strict=True))


def regrouped(data: list[tuple[Tensor, Tensor]], size: int) -> list[tuple[Tensor, Tensor]]:
    """The same images in batches of another size."""
    image, mask = (torch.cat(part) for part in zip(*data, strict=True))
    return list(zip(image.split(size), mask.split(size), strict=True))


EXAMPLE = torch.zeros(1, 3, 8, 8)
