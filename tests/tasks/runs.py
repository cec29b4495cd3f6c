"""A finished run on a few small files, for tests of what is done after a run."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.tasks.test_assembly import perform

SIZE = (20, 24)
"""Height and width in the files; the run resizes them to 16 x 16."""
COUNTS = {"train": 16, "val": 4, "test": 5}


def square(seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A bright square on dark noise [H, W, 3], and its mask [H, W] of 0 and 255."""
    stream = np.random.default_rng(seed)
    image = stream.integers(0, 120, (*size, 3), dtype=np.uint8)
    mask = np.zeros(size, np.uint8)
    top, left = (int(stream.integers(0, side // 2)) for side in size)
    mask[top : top + size[0] // 2, left : left + size[1] // 2] = 255
    image[mask > 0] += 120
    return image, mask


def write_pairs(folder: Path, count: int, first: int = 0, size: tuple[int, int] = SIZE) -> None:
    """`folder`/images and `folder`/masks with as many files."""
    for number in range(first, first + count):
        for kind, pixels in zip(("images", "masks"), square(number, size), strict=True):
            path = folder / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def run_on_files(root: Path, *overrides: str) -> Path:
    """Write the data below a folder, and prune there; returns the run's folder."""
    for place, (name, count) in enumerate(COUNTS.items()):
        write_pairs(root / "squares" / name, count, 100 * place)
    data = [
        "data=folder",
        f"data.root={root / 'squares'}",
        "data.mask_values={0:0,255:1}",
        "base.epochs=60",
        "recovery.final_epochs=20",
    ]
    perform(root, "run", *data, *overrides)
    return root / "run"
