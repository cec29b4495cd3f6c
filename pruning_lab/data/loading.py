"""Batches of tensors from a data set. Knows torch's DataLoader, and nothing of files, models and configs.

What a batch holds depends on the seed, the epoch and the index of each image alone: not on the number of
worker processes, nor on what was loaded before. So a run that is taken up again sees what it would have seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pruning_lab.common.errors import LabError
from pruning_lab.data.augmentation import Augments
from pruning_lab.data.cache import Cached
from pruning_lab.data.contract import Image, Mask, SegmentationData, Split

Batch = tuple[Tensor, Tensor]
"""Images float32 [N, C, H, W], normalized, and masks int64 [N, H, W]."""

ORDER, CHANGES, SCORING = range(3)
"""What a stream of random numbers is for, so that no two uses share one."""


@dataclass(frozen=True)
class Loaders:
    """All the batches a run needs. `workers` are processes that load ahead; 0 loads in this one.

    `score_images` is how many training images `score_batches` gives unless it is told otherwise. Raises
    LabError for numbers out of range.
    """

    data: SegmentationData
    augmentation: Augments
    batch_size: int = 16
    workers: int = 0
    score_images: int = 64
    seed: int = 0
    _made: dict[str, "DataLoader[Batch]"] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for key, number, least in (
            ("loader.batch_size", self.batch_size, 1),
            ("loader.workers", self.workers, 0),
            ("loader.score_images", self.score_images, 1),
            ("seed", self.seed, 0),
        ):
            if number < least:
                raise LabError(f"{key} is {number}: give {least} or more")

    def train_loader(self, epoch: int) -> "TrainEpoch":
        """Return the batches of one epoch, shuffled and augmented; len() is their number.

        A last batch of a single image is left out, since batch normalization can't train on one. With
        workers, only one epoch can be iterated at a time.
        """
        if "train epochs" not in self._made:
            images = _AugmentedImages(self.data.train, self._fitted_augmentation(), self.seed)
            order = _ShuffledBatches(len(self.data.train), self.batch_size, self.seed)
            self._made["train epochs"] = self._loader(images, order)
        return TrainEpoch(self._made["train epochs"], epoch)

    def eval_loader(self, split: str) -> "DataLoader[Batch]":
        """Return the batches of all images of train, val or test, in order and as they are."""
        if split not in self._made:
            images = self.data.split(split)
            self._made[split] = self._loader(_PlainImages(images), _BatchesInOrder(len(images), self.batch_size))
        return self._made[split]

    def score_batches(self, count_images: int | None = None) -> list[Batch]:
        """Return training images as they are, the same ones for the same seed; all if there are fewer."""
        count = self.score_images if count_images is None else count_images
        if count < 1:
            raise LabError(f"loader.score_images is {count}: give 1 or more")
        chosen = _stream(self.seed, SCORING).permutation(len(self.data.train))[:count]
        collate = self._collate()
        pairs = [self.data.train[int(index)] for index in sorted(chosen)]
        return [collate(pairs[start : start + self.batch_size]) for start in range(0, len(pairs), self.batch_size)]

    def sample_picture_data(self, count: int, epoch: int = 0) -> list[tuple[Image, Mask]]:
        """Return `count` training images [H, W, C] with masks uint8 [H, W], as augmented in `epoch`."""
        images = _AugmentedImages(self.data.train, self._fitted_augmentation(), self.seed)
        order = _shuffled(len(self.data.train), self.seed, epoch)[:count]
        return [images[epoch, index] for index in order]

    def _fitted_augmentation(self) -> Augments:
        image, _ = self.data.train[0]
        mask_fill = 0 if self.data.ignore_index is None else self.data.ignore_index
        return self.augmentation.for_data((image.shape[0], image.shape[1]), mask_fill)

    def _loader(self, images: "Dataset[Any]", batches: "Sampler[list[Any]]") -> "DataLoader[Batch]":
        for split in (self.data.train, self.data.val, self.data.test) if self.workers else ():
            # Workers inherit what is in memory by now; filled later, each would keep a copy of its own.
            if isinstance(split, Cached):
                split.fill()
        return DataLoader(
            images,
            batch_sampler=batches,
            num_workers=self.workers,
            collate_fn=self._collate(),
            worker_init_fn=_quiet_worker,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _collate(self) -> "_Collate":
        return _Collate(self.data.mean, self.data.std)


class TrainEpoch:
    """The batches of one epoch. It can be iterated again, and gives the same."""

    def __init__(self, loader: "DataLoader[Batch]", epoch: int) -> None:
        self._loader = loader
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        order = self._loader.batch_sampler
        assert isinstance(order, _ShuffledBatches)
        order.epoch = self.epoch
        return iter(self._loader)


class _PlainImages(Dataset[tuple[Image, Mask]]):
    def __init__(self, split: Split) -> None:
        self._split = split

    def __getitem__(self, index: int) -> tuple[Image, Mask]:
        return self._split[index]


class _AugmentedImages(Dataset[tuple[Image, Mask]]):
    """Takes (epoch, index), so that a worker process needs no state to know which changes to make."""

    def __init__(self, split: Split, augmentation: Augments, seed: int) -> None:
        self._split, self._augmentation, self._seed = split, augmentation, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Image, Mask]:
        epoch, index = key
        image, mask = self._split[index]
        seed = int(_stream(self._seed, CHANGES, epoch, index).integers(2**63))
        return self._augmentation.seeded(seed)(image, mask)


class _BatchesInOrder(Sampler[list[int]]):
    def __init__(self, images: int, batch_size: int) -> None:
        self._starts = range(0, images, batch_size)
        self._images, self._batch_size = images, batch_size

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(start, min(start + self._batch_size, self._images))) for start in self._starts)


class _ShuffledBatches(Sampler[list[tuple[int, int]]]):
    """Lists of (epoch, index). The epoch is set before each iteration."""

    def __init__(self, images: int, batch_size: int, seed: int) -> None:
        self._seed, self._images, self._batch_size = seed, images, batch_size
        self.epoch = 0

    def __len__(self) -> int:
        full, rest = divmod(self._images, self._batch_size)
        return full + (rest > 1 or (rest == 1 and full == 0))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = [(self.epoch, index) for index in _shuffled(self._images, self._seed, self.epoch)]
        starts = range(0, len(self) * self._batch_size, self._batch_size)
        return iter([order[start : start + self._batch_size] for start in starts])


class _Collate:
    """Turns pairs of arrays into a batch; mean and std are per channel, of pixels scaled to 0..1."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self._mean = torch.tensor(mean).view(1, -1, 1, 1)
        self._std = torch.tensor(std).view(1, -1, 1, 1)

    def __call__(self, pairs: list[tuple[Image, Mask]]) -> Batch:
        images = torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2)
        masks = torch.from_numpy(np.stack([mask for _, mask in pairs]))
        full = 255 if images.dtype == torch.uint8 else 1
        pixels = images.to(torch.float32, memory_format=torch.contiguous_format)
        return pixels.sub_(self._mean * full).div_(self._std * full), masks.to(torch.int64)


def _stream(seed: int, purpose: int, *place: int) -> np.random.Generator:
    return np.random.default_rng((seed, purpose, *place))


def _shuffled(count: int, seed: int, epoch: int) -> list[int]:
    order: list[int] = _stream(seed, ORDER, epoch).permutation(count).tolist()
    return order


def _quiet_worker(worker: int) -> None:
    """Keep each worker process to one core; torch sees to its own threads by itself."""
    # 0 means none: 1 would wait for the threads of the parent's pool, which a fork does not bring along.
    cv2.setNumThreads(0)
