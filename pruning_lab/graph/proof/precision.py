"""Models in double precision, so that what is compared differs by what it computes and not by how it rounds.

On a GPU float32 convolutions round their operands to ten bits (TF32), and bfloat16 keeps eight: cut and masked model
then differ by more than a wrong cut may. Knows modules and tensors, and no graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pruning_lab.common.copies import light_copy_of


@torch.no_grad()
def in_double(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[nn.Module, tuple[Tensor, ...]] | None:
    """A copy of a model, and its inputs, in double precision; None where the copy does not run so."""
    try:
        copied, given = light_copy_of(model).double(), in_doubles(inputs)
        copied(*given)
    except (RuntimeError, TypeError):  # a dtype that its code names, or a device without doubles
        return None
    return copied, given


def in_doubles(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Tensors in double precision, whole numbers as they are.

    Raises:
        RuntimeError, TypeError: the device knows no doubles.
    """
    return tuple(item.double() if item.is_floating_point() else item for item in inputs)
