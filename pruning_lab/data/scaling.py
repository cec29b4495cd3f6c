"""From stored numbers of any depth to float32 around 0..1, by a rule that is stated. Knows no file and no split."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning_lab.common.errors import LabError
from pruning_lab.data.formats import Header
from pruning_lab.data.formats.contract import Stored

SAMPLED_VALUES = 20_000_000
"""Values of which percentiles are taken, over all channels of all training images together (160 MB as float64)."""
LEAST_PER_IMAGE = 1024
HALF_OF_UINT16 = 2**15
ASK = "give null, type, range, {percentile: [1, 99]}, [low, high], or [lows, highs] with a number for each channel"


@dataclass(frozen=True)
class Scale:
    """Per channel, the stored values that become 0 and 1; with `clip` what lies beyond becomes 0 or 1 as well."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    clip: bool = False

    def applied(self, pixels: Stored) -> NDArray[np.float32]:
        """Return float32 [H, W, C] of stored pixels [H, W, C]; computed in double precision."""
        low, high = np.array(self.low), np.array(self.high)
        scaled = (pixels.astype(np.float64) - low) / (high - low)
        return (np.clip(scaled, 0, 1) if self.clip else scaled).astype(np.float32)

    def in_words(self) -> str:
        """Say which values become 0 and 1."""
        pairs = sorted(set(zip(self.low, self.high, strict=True)))
        if len(pairs) == 1:
            return f"{pairs[0][0]:g} to {pairs[0][1]:g} becomes 0 to 1"
        ranges = ", ".join(f"{low:g} to {high:g}" for low, high in zip(self.low, self.high, strict=True))
        return f"{ranges} (channel by channel) become 0 to 1"


@dataclass
class Measured:
    """Least and largest value of each channel over some images, and a sample of all values where it is asked for."""

    per_image: int = 0
    low: NDArray[Any] | None = None
    high: NDArray[Any] | None = None
    samples: list[Stored] = field(default_factory=list)

    def add(self, pixels: Stored) -> None:
        """Take an image [H, W, C] into account."""
        flat = pixels.reshape(-1, pixels.shape[2])
        low, high = flat.min(axis=0), flat.max(axis=0)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        if self.per_image:
            chosen = np.linspace(0, len(flat) - 1, min(len(flat), self.per_image)).astype(np.int64)
            self.samples.append(flat[chosen])


@dataclass(frozen=True)
class ScaleRule:
    """What `data.scale` asks for: `kind` is default, type, range, percentile or fixed, with its two ends."""

    kind: str
    ends: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    def keeps_bytes(self, kinds: Iterable[np.dtype[Any]]) -> bool:
        """Return True if pixels stay uint8: they all are, and nothing but their type is to decide."""
        return self.kind in ("default", "type") and set(kinds) == {np.dtype(np.uint8)}

    def scale(self, kind: np.dtype[Any], channels: int, pixels: Iterable[Stored], images: int) -> tuple[Scale, str]:
        """Return the scale of `images` images of one `kind`, and why it is so.

        `pixels` gives the training images [H, W, channels] as stored; they are read only if the rule asks for it.
        """
        if self.kind == "fixed":
            low, high = (end * channels if len(end) == 1 else end for end in self.ends)
            if len(low) != channels or len(high) != channels:
                raise LabError(
                    f"data.scale has {len(low)} and {len(high)} numbers for {channels} channels: give one for each"
                )
            return Scale(low, high, clip=True), "as data.scale says, clipped"
        if self.kind == "type":
            return _by_type(kind, channels), "by type"
        per_image = max(LEAST_PER_IMAGE, SAMPLED_VALUES // (images * channels))
        measured = Measured(per_image if self.kind == "percentile" else 0)
        for image in pixels:
            measured.add(image)
        assert measured.low is not None
        assert measured.high is not None
        if self.kind == "percentile":
            values = np.concatenate(measured.samples).astype(np.float64)
            low, high = np.percentile(values, [self.ends[0][0], self.ends[1][0]], axis=0)
            return _between(low, high, clip=True), f"percentiles {self.ends[0][0]:g} and {self.ends[1][0]:g}, clipped"
        if self.kind == "default" and _fills_its_type(kind, measured):
            return _by_type(kind, channels), "by type"
        return _between(measured.low, measured.high, clip=False), "the range over all training images"


def scale_rule(scale: Any) -> ScaleRule:
    """Return what `data.scale` means; raises LabError for anything else."""
    if scale is None:
        return ScaleRule("default")
    if scale in ("type", "range"):
        return ScaleRule(scale)
    kind, ends = "fixed", scale
    if isinstance(scale, Mapping):
        kind, ends = "percentile", scale.get("percentile") if len(scale) == 1 else None
    if isinstance(ends, str) or not isinstance(ends, Sequence) or len(ends) != 2:
        raise LabError(f"data.scale is {scale}: {ASK}")
    try:
        low, high = (tuple(map(float, end)) if isinstance(end, Sequence) else (float(end),) for end in ends)
    except (TypeError, ValueError):
        raise LabError(f"data.scale is {scale}: {ASK}") from None
    wrong = not low or len(low) != len(high) or any(not a < b for a, b in zip(low, high, strict=True))
    if wrong or not np.isfinite([*low, *high]).all():
        raise LabError(f"data.scale is {scale}: each low must be below its high; {ASK}")
    if kind == "percentile" and (len(low) != 1 or low[0] < 0 or high[0] > 100):
        raise LabError(f"data.scale is {scale}: percentiles lie between 0 and 100; {ASK}")
    return ScaleRule(kind, (low, high))


def _by_type(kind: np.dtype[Any], channels: int) -> Scale:
    """Whole numbers by the ends of their type; fractions as they are."""
    if np.issubdtype(kind, np.integer):
        ends = np.iinfo(kind)
        return Scale((float(ends.min),) * channels, (float(ends.max),) * channels)
    return Scale((0.0,) * channels, (1.0,) * channels)


def _fills_its_type(kind: np.dtype[Any], measured: Measured) -> bool:
    """16 bits of which all are used, or fractions between 0 and 1: no other end is more natural than the type's."""
    assert measured.low is not None
    assert measured.high is not None
    if kind == np.uint16:
        return bool(measured.high.max() >= HALF_OF_UINT16)
    if np.issubdtype(kind, np.floating):
        return bool(measured.low.min() >= 0 and 0.5 < measured.high.max() <= 1)
    return kind in (np.uint8, np.bool_)


def _between(low: NDArray[Any], high: NDArray[Any], clip: bool) -> Scale:
    """From low to high; a channel of one value would be divided by zero, so that it gets a width of 1."""
    lows = [float(value) for value in low]
    highs = [float(value) if float(value) > start else start + 1 for value, start in zip(high, lows, strict=True)]
    return Scale(tuple(lows), tuple(highs), clip)


def kind_in_words(headers: Iterable[Header]) -> str:
    """Say which types of numbers occur."""
    return " and ".join(sorted({str(header.kind) for header in headers}))
