"""Batches of tensors from a data set. Knows torch's DataLoader, and nothing of files, models and configs.

What a batch holds depends on the seed, the epoch and the index of each image alone: not on the number of
worker processes, nor on what was loaded before. So a run that is taken up again sees what it would have seen.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from pruning_lab.common.errors import LabError
from pruning_lab.common.parts import part_of
from pruning_lab.common.sharing import share
from pruning_lab.data.augmentation import Augments
from pruning_lab.data.batches import Batch, Normalizer, SplitBatches, Stack, Stored, carried, stacked
from pruning_lab.data.cache import Cached
from pruning_lab.data.contract import Image, Mask, SegmentationData, Split

MOST_WORKERS = 8
"""What `workers=auto` starts at most: by then loading is seldom what a GPU waits for."""

ORDER, CHANGES, SCORING = range(3)
"""What a stream of random numbers is for, so that no two uses share one."""


@dataclass(frozen=True)
class Loaders:
    """All the batches a run needs.

    `workers` are processes that load ahead; 0 loads in this one, and `auto` starts some where they pay: for a GPU, on
    a machine with more than two cores for each run that shares it. `score_images` is how many training images
    `score_batches` gives unless it is told otherwise. Raises LabError for numbers out of range.
    """

    data: SegmentationData
    augmentation: Augments
    batch_size: int = 16
    workers: int | Literal["auto"] = "auto"
    score_images: int = 64
    seed: int = 0
    _made: dict[tuple[str, str], "DataLoader[Stored]"] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _splits: dict[str, SplitBatches] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.workers, str) and self.workers != "auto":
            raise LabError(f"loader.workers is {self.workers}: give a number of processes, or auto")
        for key, number, least in (
            ("loader.batch_size", self.batch_size, 1),
            ("loader.workers", 0 if isinstance(self.workers, str) else self.workers, 0),
            ("loader.score_images", self.score_images, 1),
            ("seed", self.seed, 0),
        ):
            if number < least:
                raise LabError(f"{key} is {number}: give {least} or more")

    def __getstate__(self) -> dict[str, Any]:
        """Without what has been made so far: another process makes its own."""
        return {**self.__dict__, "_made": {}, "_splits": {}}

    def train_loader(self, epoch: int) -> "TrainEpoch":
        """Return the batches of one epoch, shuffled and augmented; len() is their number.

        A last batch of a single image is left out, since batch normalization can't train on one. With
        workers, only one epoch can be iterated at a time.
        """
        return TrainEpoch(self._train_loader, self._normalizer, epoch)

    def eval_loader(self, split: str) -> SplitBatches:
        """Return the batches of all images of train, val or test, in order and as they are."""
        self.data.split(split)
        if split not in self._splits:
            self._splits[split] = SplitBatches(partial(self._split_loader, split), self._normalizer)
        return self._splits[split]

    def score_batches(self, count_images: int | None = None) -> Stack:
        """Return training images as they are, the same ones for the same seed; all if there are fewer."""
        count = self.score_images if count_images is None else count_images
        if count < 1:
            raise LabError(f"loader.score_images is {count}: give 1 or more")
        chosen = _stream(self.seed, SCORING).permutation(len(self.data.train))[:count]
        pairs = [self.data.train[int(index)] for index in sorted(chosen)]
        starts = range(0, len(pairs), self.batch_size)
        return Stack([stacked(pairs[start : start + self.batch_size]) for start in starts], self._normalizer)

    def sample_picture_data(self, count: int, epoch: int = 0) -> list[tuple[Image, Mask]]:
        """Return `count` training images [H, W, C] with masks uint8 [H, W], as augmented in `epoch`."""
        images = _AugmentedImages(self.data.train, self._fitted_augmentation(), self.seed)
        order = _shuffled(len(self.data.train), self.seed, epoch)[:count]
        return [images[epoch, index] for index in order]

    @cached_property
    def _normalizer(self) -> Normalizer:
        return Normalizer(self.data.mean, self.data.std)

    def _fitted_augmentation(self) -> Augments:
        image, _ = self.data.train[0]
        mask_fill = 0 if self.data.ignore_index is None else self.data.ignore_index
        return self.augmentation.for_data((image.shape[0], image.shape[1]), mask_fill)

    def _train_loader(self, device_type: str) -> "DataLoader[Stored]":
        key = ("train epochs", device_type)
        if key not in self._made:
            images = _AugmentedImages(self.data.train, self._fitted_augmentation(), self.seed)
            order = _ShuffledBatches(len(self.data.train), self.batch_size, self.seed)
            self._made[key] = self._loader(images, order, self._workers_for(device_type), device_type)
        return self._made[key]

    def _split_loader(self, split: str, device_type: str) -> "DataLoader[Stored]":
        key = (split, device_type)
        if key not in self._made:
            images = self.data.split(split)
            order = _BatchesInOrder(len(images), self.batch_size)
            in_memory = self.workers == "auto" and isinstance(images, Cached) and images.is_whole
            workers = 0 if in_memory else self._workers_for(device_type)
            self._made[key] = self._loader(_PlainImages(images), order, workers, device_type)
        return self._made[key]

    def _workers_for(self, device_type: str) -> int:
        if not isinstance(self.workers, str):
            return self.workers
        cores = share()
        return min(MOST_WORKERS, cores - 1) if device_type == "cuda" and cores > 2 else 0

    def _loader(
        self, images: "Dataset[Any]", batches: "Sampler[list[Any]]", workers: int, device_type: str
    ) -> "DataLoader[Stored]":
        for split in (self.data.train, self.data.val, self.data.test) if workers else ():
            # Workers inherit what is in memory by now; filled later, each would keep a copy of its own.
            if isinstance(split, Cached):
                split.fill()
        return DataLoader(
            images,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=stacked,
            worker_init_fn=_quiet_worker,
            persistent_workers=workers > 0,
            pin_memory=device_type == "cuda",
            generator=torch.Generator().manual_seed(self.seed),
        )


class TrainEpoch:
    """The batches of one epoch. It can be iterated again, and gives the same."""

    def __init__(self, loader: Callable[[str], "DataLoader[Stored]"], normalize: Normalizer, epoch: int) -> None:
        self._loader, self._normalize = loader, normalize
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._loader("cpu"))

    def __iter__(self) -> Iterator[Batch]:
        return self.onward(len(self), torch.device("cpu"))

    def onward(
        self, count: int, device: torch.device, skipped: int = 0, part: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Yield `count` batches on a device: this epoch's, and then those of the epochs after it.

        In one go, so that what loads ahead does not stop at the end of an epoch.

        Args:
            skipped: batches that come first and are not loaded.
            part: number of the part of each batch that is loaded, and how many parts there are.
        """
        loader = self._loader(device.type)
        order = loader.batch_sampler
        assert isinstance(order, _ShuffledBatches)
        order.first_epoch, order.skipped, order.count, order.part = self.epoch, skipped, count, part
        # iter() at once: by the time that the first batch is asked for, the order may be another epoch's.
        return (self._normalize(*batch) for batch in carried(iter(loader), device))


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
    """Lists of (epoch, index), epoch after epoch; the first one, how many, and which part of each are set before each
    iteration.

    Its length is that of one epoch.
    """

    def __init__(self, images: int, batch_size: int, seed: int) -> None:
        self._seed, self._images, self._batch_size = seed, images, batch_size
        self.first_epoch, self.skipped, self.count = 0, 0, len(self)
        self.part = (0, 1)

    def __len__(self) -> int:
        full, rest = divmod(self._images, self._batch_size)
        return full + (rest > 1 or (rest == 1 and full == 0))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        whole = itertools.islice(self._endless(self.first_epoch), self.skipped, self.skipped + self.count)
        return (batch[part_of(len(batch), self.part)] for batch in whole)

    def _endless(self, first_epoch: int) -> Iterator[list[tuple[int, int]]]:
        for epoch in itertools.count(first_epoch):
            order = [(epoch, index) for index in _shuffled(self._images, self._seed, epoch)]
            for start in range(0, len(self) * self._batch_size, self._batch_size):
                yield order[start : start + self._batch_size]


def _stream(seed: int, purpose: int, *place: int) -> np.random.Generator:
    return np.random.default_rng((seed, purpose, *place))


def _shuffled(count: int, seed: int, epoch: int) -> list[int]:
    order: list[int] = _stream(seed, ORDER, epoch).permutation(count).tolist()
    return order


def _quiet_worker(worker: int) -> None:
    """Keep each worker process to one core; torch sees to its own threads by itself."""
    # 0 means none: 1 would wait for the threads of the parent's pool, which a fork does not bring along.
    cv2.setNumThreads(0)
