"""A network and batches so small that a training on them takes milliseconds."""

import torch
from torch import Tensor, nn


class TinyNet(nn.Module):
    """Image [N, 3, H, W] -> logits [N, classes, H, W], with the batch norm that real networks have."""

    def __init__(self, classes: int = 2, width: int = 4) -> None:
        super().__init__()
        self.classes = classes
        self.width = width
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(image)).relu())


def make_batches(
    count: int = 3, size: int = 8, batch: int = 4, classes: int = 2, seed: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """Batches whose mask can be read off the brightness of the image."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        mask = torch.randint(classes, (batch, size, size), generator=generator)
        noise = 0.1 * torch.randn(batch, 3, size, size, generator=generator)
        batches.append((mask.unsqueeze(1) + noise, mask))
    return batches


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether both hold the same tensors, bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
