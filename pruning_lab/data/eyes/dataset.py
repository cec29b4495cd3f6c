"""The data set that needs no files: draws eyes and masks, each from its number. Knows no file format."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from pruning_lab.common.errors import LabError
from pruning_lab.data.cache import Cached, MemoryBudget
from pruning_lab.data.contract import Image, Mask, SegmentationData, channel_statistics, checked_size
from pruning_lab.data.eyes.ball import paint_eyeball
from pruning_lab.data.eyes.camera import photograph
from pruning_lab.data.eyes.face import paint_glasses, paint_lids, paint_skin
from pruning_lab.data.eyes.shape import CLASS_NAMES, random_shape

SPLIT_NUMBERS = {"train": 0, "val": 1, "test": 2}


class Eyes(SegmentationData):
    """Drawn eyes: background, sclera, iris, pupil. The same arguments give the same pixels.

    `size` is (height, width) in pixels; `train`, `val`, `test` count images. `grey`, `makeup` and `glasses`
    are the shares of images (0..1) that have them; `blur` is the strongest blur, in hundredths of the height,
    and `noise` the strongest sensor noise, in shares of full brightness. `mean` and `std` are measured on
    training images if None. Raises LabError naming the argument that is out of range.
    """

    def __init__(
        self,
        size: Sequence[int] = (96, 128),
        train: int = 240,
        val: int = 60,
        test: int = 60,
        seed: int = 0,
        grey: float = 0.3,
        makeup: float = 0.3,
        glasses: float = 0.15,
        blur: float = 1.6,
        noise: float = 0.08,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        cache_mb: float = 1024,
    ) -> None:
        height, width = checked_size(size)
        for key, count in (("train", train), ("val", val), ("test", test)):
            if count < 1:
                raise LabError(f"data.{key} is {count}: a split needs at least one image")
        for key, share in (("grey", grey), ("makeup", makeup), ("glasses", glasses)):
            if not 0 <= share <= 1:
                raise LabError(f"data.{key} is {share}: give the share of images that have it, 0 to 1")
        if seed < 0 or blur < 0 or noise < 0:
            raise LabError(f"data.seed, data.blur and data.noise can't be negative: {seed}, {blur}, {noise}")
        budget = MemoryBudget(cache_mb)
        look = (grey, makeup, glasses, blur, noise)
        splits = {
            name: Cached(DrawnEyes((height, width), count, (seed, SPLIT_NUMBERS[name]), *look), budget)
            for name, count in (("train", train), ("val", val), ("test", test))
        }
        used_mean, used_std = channel_statistics(splits["train"], mean, std)
        first_pixels = [sha256(split[0][0].tobytes()).hexdigest()[:8] for split in splits.values()]
        super().__init__(
            name="eyes",
            class_names=CLASS_NAMES,
            ignore_index=None,
            mean=used_mean,
            std=used_std,
            identity=repr((height, width, train, val, test, seed, look, first_pixels)),
            train=splits["train"],
            val=splits["val"],
            test=splits["test"],
        )


class DrawnEyes:
    """A split of eyes, each drawn when asked for, from `seeds`, its index, the size and the look alone."""

    def __init__(
        self,
        size: tuple[int, int],
        count: int,
        seeds: tuple[int, ...],
        grey: float,
        makeup: float,
        glasses: float,
        blur: float,
        noise: float,
    ) -> None:
        self.size, self.count, self.seeds = size, count, seeds
        self.grey, self.makeup, self.glasses, self.blur, self.noise = grey, makeup, glasses, blur, noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Image, Mask]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng((*self.seeds, index))
        grey, makeup, glasses = rng.random(3) < (self.grey, self.makeup, self.glasses)
        shape = random_shape(rng, *self.size)
        picture = np.empty((*self.size, 3), np.float32)
        paint_skin(picture, shape, makeup, rng)
        paint_eyeball(picture, shape, rng)
        paint_lids(picture, shape, makeup, rng)
        if glasses:
            paint_glasses(picture, shape, rng)
        return photograph(picture, grey, self.blur, self.noise, rng), shape.mask()

    def label(self, index: int) -> str:
        """Return the number of the drawing."""
        return str(index)
