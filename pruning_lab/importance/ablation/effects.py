"""How far a masked network's answer lies from the whole network's. Knows logits and masks only.

An effect is `(masked [k, 1, classes, ...], whole [1, classes, ...], mask [1, ...], loss) -> float [k]`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pruning_lab.importance.objective import Loss

Effect = Callable[[Tensor, Tensor, Tensor, Loss], Tensor]


def change_of_loss(masked: Tensor, whole: Tensor, mask: Tensor, loss: Loss) -> Tensor:
    """loss(masked) - loss(whole); negative where the network is better off without the group."""
    before = loss(whole, mask)
    return torch.stack([loss(logits, mask) - before for logits in masked])


def flips(masked: Tensor, whole: Tensor, mask: Tensor, loss: Loss) -> Tensor:
    """The share of pixels, in [0, 1], whose most likely class changes."""
    return (masked.argmax(2) != whole.argmax(1)).float().flatten(1).mean(1)


def soft_mask(masked: Tensor, whole: Tensor, mask: Tensor, loss: Loss) -> Tensor:
    """Mean over pixels of half the sum over classes of |change of probability|, in [0, 1]."""
    moved = (masked.softmax(2) - whole.softmax(1)).abs().sum(2) / 2
    return moved.flatten(1).mean(1)


def logits(masked: Tensor, whole: Tensor, mask: Tensor, loss: Loss) -> Tensor:
    """Mean over pixels and classes of |change of logit|."""
    return (masked - whole).abs().flatten(1).mean(1)


EFFECTS: dict[str, Effect] = {"loss": change_of_loss, "flips": flips, "soft_mask": soft_mask, "logits": logits}
