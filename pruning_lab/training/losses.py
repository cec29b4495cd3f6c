"""What training makes small: (logits [N, C, H, W], mask int64 [N, H, W]) -> scalar. Knows torch only."""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from pruning_lab.common.errors import LabError

Loss = Callable[[Tensor, Tensor], Tensor]


class CrossEntropy:
    """Cross-entropy per pixel, averaged over the labelled pixels with their classes' weights.

    A batch in which every pixel is ignored costs 0, where torch's own mean would be NaN.

    Args:
        class_weights: one weight per class; None weighs all alike.
        label_smoothing: share of the target that is spread evenly over all classes, in [0, 1).
        ignore_index: mask value of unlabelled pixels; None when every pixel is labelled.
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int | None = None,
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise LabError(f"loss.label_smoothing={label_smoothing} must be at least 0 and below 1")
        self.class_weights = _checked_weights(class_weights)
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index

    def __call__(self, logits: Tensor, mask: Tensor) -> Tensor:
        weights = _per_class(self.class_weights, logits)
        labelled, target = _labelled(mask, self.ignore_index)
        loss = F.cross_entropy(logits, target, weights, reduction="none", label_smoothing=self.label_smoothing)
        weight_seen = (weights[target] * labelled).sum()
        return (loss * labelled).sum() / weight_seen.clamp_min(torch.finfo(loss.dtype).tiny)


class Dice:
    """One minus the soft Dice coefficient, averaged over classes; each class is counted over the whole batch.

    Dice of class c = (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth) over the labelled pixels, with p the
    softmax probability of c and t one where the mask is c (Milletari et al. 2016, with plain instead of
    squared sums).

    Args:
        smooth: pixels added above and below, which keeps a class that is absent from the batch at a finite
            value.
        class_weights: weight of each class in the average; None weighs all alike.
        ignore_index: mask value of unlabelled pixels; None when every pixel is labelled.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        class_weights: Sequence[float] | None = None,
        ignore_index: int | None = None,
    ) -> None:
        if smooth <= 0:
            raise LabError(f"loss.smooth={smooth} must be above 0: a class that is absent would divide by zero")
        self.smooth = smooth
        self.class_weights = _checked_weights(class_weights)
        self.ignore_index = ignore_index

    def __call__(self, logits: Tensor, mask: Tensor) -> Tensor:
        weights = _per_class(self.class_weights, logits)
        labelled, target = _labelled(mask, self.ignore_index)
        truth = torch.zeros_like(logits).scatter_(1, target.unsqueeze(1), 1) * labelled.unsqueeze(1)
        probability = logits.softmax(1) * labelled.unsqueeze(1)
        overlap = (probability * truth).sum((0, 2, 3))
        size = probability.sum((0, 2, 3)) + truth.sum((0, 2, 3))
        dice = (2 * overlap + self.smooth) / (size + self.smooth)
        return 1 - (weights * dice).sum() / weights.sum()


class Sum:
    """The weighted sum of other losses.

    Args:
        losses: callables of the same contract.
        weights: one factor per loss; None counts each once.
    """

    def __init__(self, losses: Sequence[Loss], weights: Sequence[float] | None = None) -> None:
        self.losses = list(losses)
        self.weights = [1.0] * len(self.losses) if weights is None else [float(weight) for weight in weights]
        if not self.losses or len(self.losses) != len(self.weights):
            raise LabError(f"loss.weights has {len(self.weights)} entries for {len(self.losses)} losses: give one each")

    def __call__(self, logits: Tensor, mask: Tensor) -> Tensor:
        terms = [weight * loss(logits, mask) for loss, weight in zip(self.losses, self.weights, strict=True)]
        return torch.stack(terms).sum()


def cross_entropy_dice(
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    smooth: float = 1.0,
    dice_weight: float = 1.0,
    ignore_index: int | None = None,
) -> Sum:
    """Cross-entropy plus `dice_weight` times Dice; the other arguments go to the two."""
    return Sum(
        [
            CrossEntropy(class_weights, label_smoothing, ignore_index),
            Dice(smooth, class_weights, ignore_index),
        ],
        [1.0, dice_weight],
    )


def _checked_weights(class_weights: Sequence[float] | None) -> list[float] | None:
    if class_weights is None:
        return None
    weights = [float(weight) for weight in class_weights]
    if any(weight < 0 for weight in weights) or not any(weights):
        raise LabError(f"loss.class_weights={weights} must not be negative, nor all zero")
    return weights


def _per_class(class_weights: list[float] | None, logits: Tensor) -> Tensor:
    """The weights as a tensor [classes] beside the logits."""
    classes = logits.shape[1]
    if class_weights is None:
        return logits.new_ones(classes)
    if len(class_weights) != classes:
        raise LabError(f"loss.class_weights has {len(class_weights)} entries for {classes} classes: give one for each")
    return _constant(tuple(class_weights), logits.dtype, logits.device)


@functools.lru_cache(maxsize=16)
def _constant(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor that is on the device from the second time on, since each way there waits for the device.

    A plain one even where validation makes it, so that training may use it.
    """
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype, device=device)


def _labelled(mask: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """Which pixels count (bool [N, H, W]), and the mask with class 0 at all the others."""
    if ignore_index is None:
        return torch.ones_like(mask, dtype=torch.bool), mask
    labelled = mask != ignore_index
    return labelled, mask.where(labelled, 0)
