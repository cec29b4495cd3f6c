"""A data set of one's own: discs on a noisy ground. One that reads files would open them in `__getitem__`."""

from dataclasses import dataclass

import numpy as np

from pruning_lab.data import Image, Mask, SegmentationData


@dataclass(frozen=True)
class DiscImages:
    """A split: as many images of one size; the same index always gives the same pixels."""

    count: int
    size: tuple[int, int]
    seed: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Image, Mask]:
        """Image uint8 [H, W, 3] and mask uint8 [H, W] with a class per pixel."""
        stream = np.random.default_rng((self.seed, index))
        height, width = self.size
        rows, columns = np.mgrid[:height, :width]
        center, radius = stream.uniform(0.3, 0.7, 2) * self.size, stream.uniform(0.1, 0.3) * min(self.size)
        mask = ((rows - center[0]) ** 2 + (columns - center[1]) ** 2 < radius**2).astype(np.uint8)
        image = stream.integers(0, 120, (height, width, 3), dtype=np.uint8) + 100 * mask[..., None]
        return image, mask

    def label(self, index: int) -> str:
        return f"disc {index}"


def discs(size: tuple[int, int] = (32, 32), train: int = 32, val: int = 16, test: int = 16) -> SegmentationData:
    """What the config group `data` asks for: three splits, the classes' names, and how pixels are scaled."""
    size = (size[0], size[1])
    return SegmentationData(
        name="discs",
        class_names=("ground", "disc"),
        ignore_index=None,
        train=DiscImages(train, size, seed=1),
        val=DiscImages(val, size, seed=2),
        test=DiscImages(test, size, seed=3),
        mean=(0.3, 0.3, 0.3),
        std=(0.2, 0.2, 0.2),
        identity=f"discs {size} {train} {val} {test}",
    )
