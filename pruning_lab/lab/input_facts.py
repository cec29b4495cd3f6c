"""What a network's images were like in training, as its checkpoint tells it. Knows no network.

Numbers of a new image become what they would have become there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning_lab.checkpoint.architecture import ARCHITECTURE, read_architecture
from pruning_lab.common.errors import LabError
from pruning_lab.data.contract import Image
from pruning_lab.data.scaling import Scale


@dataclass(frozen=True)
class InputFacts:
    """What a network's images were like in training.

    Attributes:
        mean, std: per channel, of pixels in 0..1.
        scale: from stored values to 0..1; None for bytes, and for fractions that are in 0..1 already.
        size: height and width in training, if known.
        resized: whether images were brought to that size there.
        file_size: height and width that all of them had before, if it was the same.
        class_names: one for each class, if known.
        ignore_index: the mask value that did not count.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: Scale | None = None
    size: tuple[int, int] | None = None
    resized: bool = False
    file_size: tuple[int, int] | None = None
    class_names: tuple[str, ...] = ()
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std) or not all(deviation > 0 for deviation in self.std):
            raise LabError(
                f"mean {list(self.mean)} and std {list(self.std)} must be a number for each channel, std > 0"
            )

    def pixels(self, image: NDArray[Any]) -> Image:
        """An image [H, W, C] or [H, W] as training images were before they were normalized.

        Raises:
            LabError: it has other channels or numbers than these, or no pixel.
        """
        pixels = with_channels(image, len(self.mean))
        if pixels.dtype.kind == "f":
            if not np.isfinite(pixels).all():
                raise LabError("the image holds NaN or infinite values: fill in numbers there")
            return pixels.astype(np.float32, copy=False)
        if self.scale is not None and pixels.dtype.kind in "uib":
            return self.scale.applied(pixels)
        if pixels.dtype != np.uint8:
            raise LabError(
                f"the image holds {pixels.dtype} numbers, and the network was trained on bytes: give uint8, or float32 "
                "in 0..1"
            )
        return pixels

    def size_as_in_training(self, own: tuple[int, int]) -> tuple[int, int]:
        """Height and width at which an image of its `own` shows things as large as they were in training.

        Where all files had one size, an image is resized by the factors that they were; else it gets their new size.
        """
        if self.size is None or not self.resized:
            return own
        if self.file_size is None:
            return self.size
        height, width = (
            max(1, round(side * there / before))
            for side, there, before in zip(own, self.size, self.file_size, strict=True)
        )
        return height, width

    @staticmethod
    def of_checkpoint(folder: Path) -> InputFacts:
        """What `architecture.json` tells. Raises LabError if the model was saved without its mean and std."""
        about = read_architecture(folder).get("about") or {}
        if "mean" not in about or "std" not in about:
            raise LabError(
                f"{folder / ARCHITECTURE} tells no mean and std of its images: save the model with "
                "save(..., about={'mean': [...], 'std': [...]})"
            )
        try:
            return _facts(about)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise LabError(f"{folder / ARCHITECTURE}: about can't be used ({error}); save the model again") from error


def _facts(about: Mapping[str, Any]) -> InputFacts:
    shape, scale, before = about.get("input"), about.get("scale"), about.get("file_size")
    return InputFacts(
        mean=tuple(map(float, about["mean"])),
        std=tuple(map(float, about["std"])),
        scale=None if scale is None else Scale(tuple(scale["low"]), tuple(scale["high"]), bool(scale["clip"])),
        size=None if shape is None else (int(shape[2]), int(shape[3])),
        resized=bool(about.get("resized", False)),
        file_size=None if before is None else (int(before[0]), int(before[1])),
        class_names=tuple(about.get("class_names") or ()),
        ignore_index=about.get("ignore_index"),
    )


def checkpoint_folder(run_or_model: str | Path) -> Path:
    """The folder of the model itself, given it or the folder of its run. Raises LabError if there is none."""
    folder = Path(run_or_model)
    for place in (folder, folder / "model"):
        if (place / ARCHITECTURE).is_file():
            return place
    raise LabError(f"{folder} holds no model: give the folder of a finished run, or one that save() wrote")


def with_channels(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """The image as [H, W, channels]: a gray one gets equal channels. Raises LabError for any other number of them."""
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.size == 0:
        raise LabError(f"the image has the shape {list(image.shape)}: give [H, W, channels] or [H, W], not empty")
    if pixels.shape[2] == channels:
        return pixels
    if pixels.shape[2] == 1:
        return np.repeat(pixels, channels, axis=2)
    raise LabError(f"the image has {pixels.shape[2]} channels, the network was trained on {channels}: give as many")
