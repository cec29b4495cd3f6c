"""The data set that needs no files: draws eyes and masks, each from its number. Knows no file format."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pruning_lab.data.contract import Image, Mask, SegmentationData, channel_statistics, checked_size
from pruning_lab.data.drawing.camera import photograph
from pruning_lab.data.drawing.splits import check_drawing, drawn_splits, first_pixels
from pruning_lab.data.eyes.ball import paint_eyeball
from pruning_lab.data.eyes.face import paint_glasses, paint_lids, paint_skin
from pruning_lab.data.eyes.shape import CLASS_NAMES, random_shape


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
        counts = {"train": train, "val": val, "test": test}
        shares = {"grey": grey, "makeup": makeup, "glasses": glasses}
        check_drawing(counts, shares, {"seed": seed, "blur": blur, "noise": noise})
        look = (grey, makeup, glasses, blur, noise)
        splits = drawn_splits(DrawEye((height, width), *look), counts, seed, cache_mb)
        used_mean, used_std = channel_statistics(splits["train"], mean, std)
        super().__init__(
            name="eyes",
            class_names=CLASS_NAMES,
            ignore_index=None,
            mean=used_mean,
            std=used_std,
            identity=repr((height, width, train, val, test, seed, look, first_pixels(splits))),
            train=splits["train"],
            val=splits["val"],
            test=splits["test"],
        )


@dataclass(frozen=True)
class DrawEye:
    """Draws one eye of a size, (height, width), and with a look; the arguments are those of `Eyes`."""

    size: tuple[int, int]
    grey: float
    makeup: float
    glasses: float
    blur: float
    noise: float

    def __call__(self, rng: np.random.Generator) -> tuple[Image, Mask]:
        grey, makeup, glasses = rng.random(3) < (self.grey, self.makeup, self.glasses)
        shape = random_shape(rng, *self.size)
        picture = np.empty((*self.size, 3), np.float32)
        paint_skin(picture, shape, makeup, rng)
        paint_eyeball(picture, shape, rng)
        paint_lids(picture, shape, makeup, rng)
        if glasses:
            paint_glasses(picture, shape, rng)
        return photograph(picture, grey, self.blur, self.noise, rng), shape.mask()
