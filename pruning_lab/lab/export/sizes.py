"""Which sizes of images a network or a file takes: found out by running it. Knows no file format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.lab.prediction import MULTIPLES

Run = Callable[[Tensor], Sequence[Tensor]]
"""Images -> outputs; whatever it raises means that it does not take them."""


@dataclass(frozen=True)
class TakenSizes:
    """The images that are taken.

    Attributes:
        fixed: the only size, of a file that takes one; None where sizes are free.
        multiple: what sides must be a multiple of, where sizes are free.
        least: the shortest side, where sizes are free.
        any_batch: whether any number of images is taken; else one.
    """

    fixed: tuple[int, ...] | None
    multiple: int = 1
    least: int = 1
    any_batch: bool = True

    def in_words(self) -> str:
        """`any size`, `sides that are multiples of 32`, or `256 x 256 only`."""
        many = "" if self.any_batch else ", one image at a time"
        if self.fixed is not None:
            return " x ".join(map(str, self.fixed)) + " only" + many
        sides = "any size" if self.multiple == 1 else f"sides that are multiples of {self.multiple}"
        return sides + (f", from {self.least} on" if self.least > self.multiple else "") + many


def taken_sizes(run: Run, expected: Run, shape: Sequence[int], kind: torch.dtype, tolerance: float) -> TakenSizes:
    """The sizes at which `run` gives what `expected` does.

    Args:
        shape: of one image that both take [C, *size]; sizes around it are tried, and small ones.
        kind: uint8, or float32.
        tolerance: by which outputs may differ, as a fraction of the largest one.

    Raises:
        LabError: it does not even take this one.
    """
    channels, size = shape[0], tuple(shape[1:])

    def works(number: int, *sides: int) -> bool:
        return _agree(run, expected, example_images((number, channels, *sides), kind), tolerance)

    if not works(1, *size):
        raise LabError(f"it does not give what the network gives for an image of {' x '.join(map(str, size))}")
    any_batch = works(3, *size)
    for multiple in MULTIPLES:
        tried = [_odd_multiples(size, multiple, up) for up in (0, 1)]
        # What exporters take for granted of an image's sides often is which of them is the longer one.
        if all(works(1, *sides) and works(1, *sides[::-1]) for sides in tried):
            short = [multiple * 2**power for power in range(12) if multiple * 2**power < max(size)]
            least = next((side for side in short if works(1, *[side] * len(size))), max(size))
            return TakenSizes(None, multiple, least, any_batch)
    return TakenSizes(size, any_batch=any_batch)


def example_images(shape: Sequence[int], kind: torch.dtype) -> Tensor:
    """Noise of a shape, the same each time."""
    stream = torch.Generator().manual_seed(0)
    if kind == torch.uint8:
        return torch.randint(0, 256, tuple(shape), generator=stream, dtype=torch.uint8)
    return torch.randn(tuple(shape), generator=stream)


def _odd_multiples(size: Sequence[int], multiple: int, up: int) -> list[int]:
    """Sides near a size that are multiples, and not multiples of twice as much; they differ from each other."""
    return [
        max(side // (2 * multiple), 1) * 2 * multiple + multiple * (2 * (up + place) - 1)
        for place, side in enumerate(size)
    ]


def _agree(run: Run, expected: Run, images: Tensor, tolerance: float) -> bool:
    with torch.inference_mode():
        try:
            wanted = expected(images)
            found = run(images)
        except Exception:  # a runtime may refuse a size in any way
            return False
    return len(found) == len(wanted) and all(
        one.shape == other.shape and _near(one, other, tolerance) for one, other in zip(found, wanted, strict=True)
    )


def _near(one: Tensor, other: Tensor, tolerance: float) -> bool:
    if not other.is_floating_point():
        return bool((one != other).double().mean() <= tolerance)
    scale = max(1.0, float(other.abs().max()))
    return bool((one - other).abs().max() <= tolerance * scale)
