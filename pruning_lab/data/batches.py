"""Batches on their way to a network: stacked as they are stored, carried to a device, normalized there.

Knows torch only. Pixels travel as bytes, a quarter of the numbers that a network reads, from worker processes as well
as to a device; normalizing them there gives the same numbers as normalizing them here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pruning_lab.data.contract import Image, Mask

Batch = tuple[Tensor, Tensor]
"""Images float32 [N, C, H, W], normalized, and masks int64 [N, H, W]."""

Stored = tuple[Tensor, Tensor]
"""Images [N, H, W, C] as they are stored: uint8, or float32 scaled to 0..1; and masks uint8 [N, H, W]."""

RESIDENT_PART = 32
"""Of a device's memory, one in so many bytes may hold a split that is looked at again and again."""


def stacked(pairs: Sequence[tuple[Image, Mask]]) -> Stored:
    """Images [H, W, C] and masks [H, W], one batch of them."""
    images, masks = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


class Normalizer:
    """From stored pixels to what networks read: (pixel - mean) / std per channel, of pixels scaled to 0..1."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._mean, self._std = (torch.tensor(numbers).view(1, -1, 1, 1) for numbers in (mean, std))
        self._placed: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def __call__(self, images: Tensor, masks: Tensor) -> Batch:
        """A batch on the device where its stored pixels are; neither is written into."""
        return self.images(images), masks.to(torch.int64)

    def images(self, images: Tensor) -> Tensor:
        """Stored pixels [N, H, W, C] as a network reads them, float32 [N, C, H, W]."""
        mean, std = self._constants(images.device, images.dtype)
        pixels = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        return pixels.sub_(mean).div_(std)

    def _constants(self, device: torch.device, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        """Mean and deviation of stored pixels; carried to the device once, since each way there waits for it."""
        if (device, kind) not in self._placed:
            full = 1 if kind.is_floating_point else torch.iinfo(kind).max
            self._placed[device, kind] = ((self._mean * full).to(device), (self._std * full).to(device))
        return self._placed[device, kind]


class Stack(Sequence[Batch]):
    """A few batches that are in memory."""

    def __init__(self, batches: Sequence[Stored], normalize: Normalizer) -> None:
        self._batches, self._normalize = batches, normalize

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> "Stack": ...
    def __getitem__(self, index: int | slice) -> "Batch | Stack":
        if isinstance(index, slice):
            return Stack(self._batches[index], self._normalize)
        return self._normalize(*self._batches[index])

    def on(self, device: torch.device) -> Iterator[Batch]:
        """Yield the batches on a device."""
        return (self._normalize(*batch) for batch in carried(self._batches, device))


class SplitBatches:
    """The batches of a whole split, always the same ones.

    A device that has room keeps their bytes when they first come by; from then on nothing is loaded for it.

    Args:
        loader: device type -> what loads them for it.
    """

    def __init__(self, loader: Callable[[str], "DataLoader[Stored]"], normalize: Normalizer) -> None:
        self._loader, self._normalize = loader, normalize
        self._resident: dict[torch.device, list[Stored]] = {}

    def __len__(self) -> int:
        return len(self._loader("cpu"))

    def __iter__(self) -> Iterator[Batch]:
        return (self._normalize(*batch) for batch in self._loader("cpu"))

    def on(self, device: torch.device) -> Iterator[Batch]:
        """Yield the batches on a device."""
        batches = self._resident.get(device)
        return (self._normalize(*batch) for batch in (self._carried(device) if batches is None else batches))

    def _carried(self, device: torch.device) -> Iterator[Stored]:
        kept, most = [], room(device)
        for batch in carried(self._loader(device.type), device):
            if len(self) * _bytes_of(batch) <= most:
                kept.append(batch)
            yield batch
        if len(kept) == len(self):
            self._resident[device] = kept


def carried(batches: Iterable[Stored], device: torch.device) -> Iterator[Stored]:
    """Yield batches on a device, unchanged.

    To a GPU they are copied on a stream of its own, so that a copy runs while the GPU is busy with earlier batches.
    """
    if device.type != "cuda":
        for images, masks in batches:
            yield images.to(device), masks.to(device)
        return
    copying = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(copying):
            images, masks = (part.pin_memory().to(device, non_blocking=True) for part in batch)
        working = torch.cuda.current_stream(device)
        working.wait_stream(copying)
        for part in (images, masks):
            part.record_stream(working)
        yield images, masks


def room(device: torch.device) -> int:
    """Bytes that a split may take on a device for good; 0 where batches are in reach anyway."""
    return torch.cuda.get_device_properties(device).total_memory // RESIDENT_PART if device.type == "cuda" else 0


def _bytes_of(batch: Stored) -> int:
    return sum(part.numel() * part.element_size() for part in batch)
