"""A data set that needs no files: draws land from above and its masks, each from its number. Knows no file format."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruning_lab.data.contract import Image, Mask, SegmentationData, channel_statistics, checked_size
from pruning_lab.data.drawing.brush import soft_noise
from pruning_lab.data.drawing.camera import photograph
from pruning_lab.data.drawing.splits import check_drawing, drawn_splits, first_pixels
from pruning_lab.data.fields.ground import draw_fields, draw_tracks, draw_water, roughen
from pruning_lab.data.fields.roads import draw_cars, draw_houses, draw_roads
from pruning_lab.data.fields.sheet import CLASS_NAMES, UNLABELED, Sheet
from pruning_lab.data.fields.trees import draw_trees

_MOST_UNLABELED = 0.5


class Fields(SegmentationData):
    """Drawn land from above: ground, road, house, tree, water, car. The same arguments give the same pixels.

    `size` is (height, width) in pixels; `train`, `val`, `test` count images. `grey` is the share of images (0..1)
    without colors; `unlabeled` the mean share of an image's pixels without a label: they are 255 in the masks, and
    ignored. `blur` is the strongest blur, in hundredths of the height, and `noise` the strongest sensor noise, in
    shares of full brightness. `mean` and `std` are measured on training images if None. Raises LabError naming the
    argument that is out of range.
    """

    def __init__(
        self,
        size: Sequence[int] = (96, 96),
        train: int = 240,
        val: int = 60,
        test: int = 60,
        seed: int = 0,
        grey: float = 0.2,
        unlabeled: float = 0.06,
        blur: float = 1.0,
        noise: float = 0.06,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        cache_mb: float = 1024,
    ) -> None:
        height, width = checked_size(size)
        counts = {"train": train, "val": val, "test": test}
        check_drawing(counts, {"grey": grey, "unlabeled": unlabeled}, {"seed": seed, "blur": blur, "noise": noise})
        look = (grey, unlabeled, blur, noise)
        splits = drawn_splits(DrawLand((height, width), *look), counts, seed, cache_mb)
        used_mean, used_std = channel_statistics(splits["train"], mean, std)
        super().__init__(
            name="fields",
            class_names=CLASS_NAMES,
            ignore_index=UNLABELED,
            mean=used_mean,
            std=used_std,
            identity=repr((height, width, train, val, test, seed, look, first_pixels(splits))),
            train=splits["train"],
            val=splits["val"],
            test=splits["test"],
        )


@dataclass(frozen=True)
class DrawLand:
    """Draws one piece of land of a size, (height, width), and with a look; the arguments are those of `Fields`."""

    size: tuple[int, int]
    grey: float
    unlabeled: float
    blur: float
    noise: float

    def __call__(self, rng: np.random.Generator) -> tuple[Image, Mask]:
        grey = rng.random() < self.grey
        hidden, photographed = rng.spawn(2)
        sun = rng.uniform(0, 2 * np.pi)
        sheet = Sheet(*self.size, shadow=(float(np.cos(sun)), float(np.sin(sun))))
        draw_fields(sheet, rng)
        draw_tracks(sheet, rng)
        draw_water(sheet, rng)
        roads = draw_roads(sheet, rng)
        draw_houses(sheet, roads, rng)
        draw_cars(sheet, roads, rng)
        draw_trees(sheet, rng)
        roughen(sheet, rng)
        mask = sheet.mask()
        mask[_hidden(self.size, self.unlabeled, hidden)] = UNLABELED
        return photograph(sheet.picture(), grey, self.blur, self.noise, photographed), mask


def _hidden(size: tuple[int, int], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where nobody has drawn a label: patches over a share of the image that differs from one to the next."""
    own = min(rng.exponential(share), _MOST_UNLABELED) if share < _MOST_UNLABELED else share
    noise = soft_noise(rng, *size, 5)
    hidden: NDArray[np.bool_] = noise < np.quantile(noise, own)
    return hidden
