"""A small network for every kind of reader, whose last filters are combinations of the first ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.graph import ChannelGraph

KEPT = 4
WIDTH = 8


class Read(nn.Module):
    """source -> reader -> relu -> head; what the source's filters 4 to 7 give follows from 0 to 3."""

    def __init__(self, source: nn.Module, reader: nn.Module, head: nn.Module, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.source, self.reader, self.head = source, reader, head
        self.behind = behind or nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        return self.head(F.relu(self.behind(self.reader(self.source(image)))))


class Joined(nn.Module):
    """Two readers of one source: one of its sum with a skip, and one of a concatenation. The skip is a layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.skip = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(3, WIDTH, 1)
        self.of_sum, self.of_both = nn.Conv2d(WIDTH, 5, 3), nn.Conv2d(WIDTH + 3, 5, 3)
        self.head = nn.Conv2d(5, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        source = self.source(image)
        total = source + self.skip(image)
        return self.head(F.relu(self.of_sum(total)) + F.relu(self.of_both(torch.cat([image, source], 1))))


class Flat(nn.Module):
    """A linear layer that reads every place of every channel."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.reader, self.head = nn.Conv2d(3, WIDTH, 3), nn.Linear(WIDTH * 36, 6), nn.Linear(6, 2)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(F.relu(self.reader(self.source(image).flatten(1))))


class SharedHead(nn.Module):
    """One reader that runs on two features, as a head over a pyramid does."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.reader = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 5, 3, padding=1)
        self.head = nn.Conv2d(5, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        feature = self.source(image)
        small = F.relu(self.reader(F.avg_pool2d(feature, 2)))
        return self.head(F.relu(self.reader(feature)) + F.interpolate(small, scale_factor=2))


IMAGE, LINE, VOLUME = (6, 3, 8, 8), (6, 3, 24), (6, 3, 6, 6, 6)


def conv(inputs: int, outputs: int, size: int = 3, **options: object) -> nn.Module:
    return nn.Conv2d(inputs, outputs, size, **options)  # type: ignore[arg-type]


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolution": (lambda: Read(conv(3, 8), conv(8, 5), conv(5, 2, 1)), IMAGE),
    "stride, padding and dilation": (
        lambda: Read(conv(3, 8, padding=1), conv(8, 5, stride=2, padding=2, dilation=2), conv(5, 2, 1)),
        IMAGE,
    ),
    "grouped": (lambda: Read(conv(3, 8), conv(8, 6, groups=2), conv(6, 2, 1)), IMAGE),
    "depthwise": (
        lambda: Read(conv(3, 8), nn.Sequential(conv(8, 8, groups=8), conv(8, 5, 1)), conv(5, 2, 1)),
        IMAGE,
    ),
    "without bias, before a norm": (
        lambda: Read(conv(3, 8), conv(8, 5, bias=False), conv(5, 2, 1), nn.BatchNorm2d(5)),
        IMAGE,
    ),
    "without bias": (lambda: Read(conv(3, 8), conv(8, 5, bias=False), conv(5, 2, 1)), IMAGE),
    "transposed": (
        lambda: Read(conv(3, 8), nn.ConvTranspose2d(8, 5, 3, stride=2, padding=1, output_padding=1), conv(5, 2, 1)),
        IMAGE,
    ),
    "1d": (lambda: Read(nn.Conv1d(3, 8, 3), nn.Conv1d(8, 5, 3), nn.Conv1d(5, 2, 1)), LINE),
    "3d": (lambda: Read(nn.Conv3d(3, 8, 2), nn.Conv3d(8, 5, 2), nn.Conv3d(5, 2, 1)), VOLUME),
    "linear": (Flat, (400, 3, 8, 8)),
    "sum and concatenation": (Joined, IMAGE),
    "twice": (SharedHead, IMAGE),
}
SOURCES = ("source", "skip")


def combined(name: str) -> tuple[nn.Module, ChannelGraph, Tensor, list[int]]:
    """A network, its graph, images, and the groups that can leave without a loss."""
    torch.manual_seed(0)
    build, shape = NETS[name]
    model = build().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    # A grouped reader loses the same places of all its groups, and sees each of its groups apart.
    blocks = 2 if name == "grouped" else 1
    mixing = torch.randn(KEPT // blocks, KEPT // blocks)
    with torch.no_grad():
        for source in SOURCES:
            if hasattr(model, source):
                _combine(getattr(model, source), blocks, torch.eye(KEPT) if name == "depthwise" else mixing)
        if name == "depthwise":
            model.reader[0].weight[KEPT:] = model.reader[0].weight[:KEPT]
            model.reader[0].bias[KEPT:] = model.reader[0].bias[:KEPT]
    graph = ChannelGraph.trace(model, torch.zeros(1, *shape[1:]))
    ids = graph.layers["source"]
    leaving = ids.reshape(blocks, -1)[:, KEPT // blocks :].flatten().unique().tolist()
    return model, graph, torch.randn(shape), leaving


def _combine(source: nn.Module, blocks: int, mixing: Tensor) -> None:
    for tensor in (source.weight, source.bias):
        parts = tensor.view(blocks, WIDTH // blocks, -1)
        half = parts.shape[1] // 2
        parts[:, half:] = mixing @ parts[:, :half]
