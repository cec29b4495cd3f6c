"""What of an operator its time depends on: the shape of a layer but for its channels, and the channels.

Knows operators and sizes. The same rules hold for a tape's operators, for those of a live pass and for a runtime's own
report, so that a time that was read of one is a time of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

aten = torch.ops.aten

CONVOLUTIONS: frozenset[Any] = frozenset(
    getattr(getattr(aten, f"conv{sides}d"), kind) for sides in (1, 2, 3) for kind in ("default", "padding")
)
TRANSPOSED: frozenset[Any] = frozenset(
    {aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input}
)
LINEAR: frozenset[Any] = frozenset({aten.linear.default})
LAYERS = CONVOLUTIONS | TRANSPOSED | LINEAR
"""Operators whose time is a function of the channels that they read and give."""


def shape_of_layer(image: Sequence[int], weight: Sequence[int], result: Sequence[int], transposed: bool) -> str:
    """A layer's shape without its channels: `conv 3x3 64x64 to 32x32`, `linear of 49`.

    Args:
        image, weight, result: sizes; the weight's as torch has them, [out, in / groups, *kernel].
    """
    if len(weight) < 3:
        return f"linear of {math.prod(result[:-1])}"
    kernel, sides = weight[2:], len(weight) - 2
    read = image[-sides - 1]
    own = weight[0] if transposed else weight[1]
    # A weight that reads fewer channels than there are is one of several groups; with blocks of channels it is padded.
    kind = "depthwise" if (own == 1 and read > 1) else "grouped" if own < read and not transposed else "conv"
    kind = f"transposed {kind}" if transposed else kind
    batch = "" if image[0] == 1 else f" batch {image[0]}"
    return f"{kind} {_sides(kernel)} {_sides(image[-sides:])} to {_sides(result[-sides:])}{batch}"


def dilation_of(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """What is added to a convolution's shape: ` dilated 12x12`, nothing where it is not dilated."""
    names = [one.name for one in operator._schema.arguments]
    if "dilation" not in names:
        return ""
    place = names.index("dilation")
    given = args[place] if place < len(args) else kwargs.get("dilation", 1)
    sides = list(given) if isinstance(given, Sequence) else [given]
    return f" dilated {_sides(sides)}" if max(sides, default=1) > 1 else ""


def channel_dim(weight: Sequence[int]) -> int:
    """Where channels are in what a layer reads and gives, from the end."""
    return -1 if len(weight) < 3 else -(len(weight) - 1)


def kind_of(operator: Any) -> str:
    """An operator's name without namespace, and without the mark of those that work in place."""
    schema = getattr(operator, "_schema", None)
    return "" if schema is None else schema.name.partition("::")[2].rstrip("_")


def _sides(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
