"""Small networks that several tests prune."""

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph


class TwoPaths(nn.Module):
    """A residual add, a concatenation at an offset, a depthwise and a strided convolution, batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.down = nn.Conv2d(8, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 5, 2, stride=2)
        self.head = nn.Conv2d(8 + 5, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = torch.relu(self.norm(self.first(image)))
        added = first + self.depthwise(self.second(first))
        up = self.up(torch.relu(self.down(added)))
        return self.head(torch.cat([added, up], dim=1))


def traced(model: nn.Module | None = None, size: int = 16) -> tuple[nn.Module, ChannelGraph]:
    """A model in evaluation mode with lively batch norms, and its graph."""
    torch.manual_seed(0)
    model = model or TwoPaths()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    model.eval()
    return model, ChannelGraph.trace(model, torch.zeros(1, 3, size, size))


def random_groups(graph: ChannelGraph, share: float, seed: int = 0) -> Tensor:
    """About that share of the prunable groups, bool [n_groups]; every layer keeps at least one filter."""
    generator = torch.Generator().manual_seed(seed)
    chosen = (torch.rand(len(graph), generator=generator) < share) & graph.prunable
    while emptied := graph.emptied(chosen):
        chosen[graph.layers[emptied[0]][0]] = False
    return chosen
