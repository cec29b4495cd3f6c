"""Tiny image files and splits for the tests of this folder."""

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from pruning_lab.data import SegmentationData


def write_picture(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(path)
    return path


def write_pair(folder: Path, name: str, mask: np.ndarray | None = None, ending: str = ".png") -> None:
    """Write a random image, and `mask` (by default classes 0 and 1), below `folder`/{images,masks}."""
    mask = np.tile(np.array([0, 1], np.uint8), (8, 5)) if mask is None else mask
    rng = np.random.default_rng(len(name))
    write_picture(folder / "images" / f"{name}{ending}", rng.integers(0, 256, (*mask.shape, 3)).astype(np.uint8))
    write_picture(folder / "masks" / f"{name}.png", mask)


def write_splits(root: Path, count: int = 2) -> Path:
    for split in ("train", "val", "test"):
        for number in range(count):
            write_pair(root / split, f"{split}{number}")
    return root


class ArraySplit:
    """A split of given arrays that counts how often it was read."""

    def __init__(self, count: int, size: tuple[int, int] = (6, 8)) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (count, *size, 3)).astype(np.uint8)
        self.masks = rng.integers(0, 3, (count, *size)).astype(np.uint8)
        self.reads = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self.reads += 1
        return self.images[index].copy(), self.masks[index].copy()

    def label(self, index: int) -> str:
        return f"array {index}"


def array_data(train: int = 10, ignore_index: int | None = None) -> SegmentationData:
    return SegmentationData(
        name="arrays",
        class_names=("a", "b", "c"),
        ignore_index=ignore_index,
        train=ArraySplit(train),
        val=ArraySplit(3),
        test=ArraySplit(5),
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.25, 0.3),
        identity="arrays",
    )
