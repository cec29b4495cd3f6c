"""A metric of one's own, from the confusion matrix of a split."""

from torch import Tensor


def balanced_accuracy(confusion: Tensor) -> float:
    """Mean over the classes that occur of the share of their pixels that was found.

    Args:
        confusion: int64 [classes, classes], true class in rows, predicted class in columns.
    """
    pixels = confusion.sum(1)
    return float((confusion.diag()[pixels > 0] / pixels[pixels > 0]).mean())
