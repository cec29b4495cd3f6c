"""The loss that gradient methods differentiate, and where in a model's answer the logits are. Knows torch only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from pruning_lab.common.errors import LabError

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits [N, classes, H, W], mask [N, H, W]) -> scalar, the mean over the images of the batch."""


def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean over all pixels; none is ignored."""
    return F.cross_entropy(logits, mask.long())


def main_output(answer: Any) -> Tensor:
    """The logits in what a model returns: the tensor itself, the mapping's `out`, or the first item.

    Raises:
        LabError: there is no tensor in it.
    """
    answer = main_item(answer)
    if not isinstance(answer, Tensor):
        kind = type(answer).__name__
        raise LabError(f"the model returns {kind}; importance needs logits, a dict with 'out', or a tuple of them")
    return answer


def main_item(answer: Any) -> Any:
    """The place of the logits in what a model returns, whatever is there."""
    if isinstance(answer, Mapping) and answer:
        return answer["out"] if "out" in answer else next(iter(answer.values()))
    return answer[0] if isinstance(answer, (tuple, list)) and answer else answer
