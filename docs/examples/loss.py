"""A loss of one's own: the focal loss of Lin et al. 2017, for masks in which one class is rare."""

import torch
from torch import Tensor
from torch.nn import functional


class Focal:
    """Cross-entropy that counts a pixel the less, the surer the network is of it: (1 - p)^gamma x -log p."""

    def __init__(self, gamma: float = 2.0, ignore_index: int | None = None) -> None:
        self.gamma, self.ignore_index = gamma, ignore_index

    def __call__(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Logits [N, classes, H, W] and int64 mask [N, H, W] -> scalar."""
        labelled = torch.ones_like(mask, dtype=torch.bool) if self.ignore_index is None else mask != self.ignore_index
        entropy = functional.cross_entropy(logits, mask.where(labelled, 0), reduction="none")
        focal = (1 - torch.exp(-entropy)) ** self.gamma * entropy
        return (focal * labelled).sum() / labelled.sum().clamp_min(1)
